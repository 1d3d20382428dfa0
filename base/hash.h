/*
 * uthash with a hash function of our own: its default one goes byte by byte through a switch with
 * fall-throughs that clang warns about. Tables of uthash iterate in the order of insertion,
 * whatever the hash: that keeps the simulator's runs repeatable.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline unsigned sy_hash(const void *key, size_t len)
{
    const uint8_t *at = key;
    uint64_t hash = len;
    for (;;) {
        uint64_t word = 0;
        size_t n = len < sizeof(word) ? len : sizeof(word);
        memcpy(&word, at, n);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 29;
        if (len <= sizeof(word))
            break;
        at += n;
        len -= n;
    }
    return (unsigned)(hash ^ hash >> 32);
}

#define HASH_FUNCTION(key, len, hash) ((hash) = sy_hash((key), (len)))
#include <uthash.h>
