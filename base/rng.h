/*
 * Injected randomness (xoshiro256++, seeded through splitmix64; Blackman and Vigna 2019). Not for
 * secrets. The same seed gives the same sequence on every machine.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sy_rng {
    uint64_t s[4];
};

void sy_rng_init(struct sy_rng *rng, uint64_t seed);
/* Seeds from the kernel; only main.c of a daemon calls it. */
void sy_rng_init_from_system(struct sy_rng *rng);

uint64_t sy_rng_u64(struct sy_rng *rng);
/* Uniform in [0, bound); bound > 0. */
uint64_t sy_rng_below(struct sy_rng *rng, uint64_t bound);
/* True `numerator` times out of `denominator`. */
bool sy_rng_chance(struct sy_rng *rng, uint32_t numerator, uint32_t denominator);
/* Lower-case base32 text without vowels' look-alikes (Crockford), n characters and a NUL. */
void sy_rng_name(struct sy_rng *rng, char *ret, unsigned n);
