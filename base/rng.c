#include "base/rng.h"

#include "base/error.h"

#include <sys/random.h>

__extension__ typedef unsigned __int128 u128;

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

void sy_rng_init(struct sy_rng *rng, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++)
        rng->s[i] = splitmix64(&seed);
    /* All zeros is the one state xoshiro cannot leave; splitmix64 never yields four zeros. */
    SY_ASSERT(rng->s[0] | rng->s[1] | rng->s[2] | rng->s[3]);
}

void sy_rng_init_from_system(struct sy_rng *rng)
{
    uint64_t seed;
    ssize_t n = getrandom(&seed, sizeof(seed), 0);
    SY_ASSERT(n == (ssize_t)sizeof(seed)); /* up to 256 bytes are never cut short: getrandom(2) */
    sy_rng_init(rng, seed);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t sy_rng_u64(struct sy_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[0] + s[3], 23) + s[0];
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

/* Lemire 2019, "Fast random integer generation in an interval": one multiplication, and a
 * division only when the draw falls into the biased part. */
uint64_t sy_rng_below(struct sy_rng *rng, uint64_t bound)
{
    SY_ASSERT(bound > 0);
    u128 product = (u128)sy_rng_u64(rng) * bound;
    if ((uint64_t)product < bound) {
        uint64_t threshold = (0 - bound) % bound; /* 2^64 mod bound */
        while ((uint64_t)product < threshold)
            product = (u128)sy_rng_u64(rng) * bound;
    }
    uint64_t result = (uint64_t)(product >> 64);
    SY_ASSERT(result < bound);
    return result;
}

bool sy_rng_chance(struct sy_rng *rng, uint32_t numerator, uint32_t denominator)
{
    SY_ASSERT(denominator > 0);
    SY_ASSERT(numerator <= denominator);
    return sy_rng_below(rng, denominator) < numerator;
}

void sy_rng_name(struct sy_rng *rng, char *ret, unsigned n)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    _Static_assert(sizeof(alphabet) == 33, "five bits each");
    for (unsigned i = 0; i < n; i++)
        ret[i] = alphabet[sy_rng_u64(rng) >> 59];
    ret[n] = 0;
}
