#include <xxhash.h>

/* Debian's plain XXH3 symbols are built for SSE2; the dispatching ones choose AVX2 or AVX-512 at
 * run time and are about three times as fast. They exist on x86 alone. */
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
static inline XXH128_hash_t varve_xxh3_128_with_secret(const void *input, size_t length,
                                                       const void *secret, size_t secretLength) {
    return XXH3_128bits_withSecret_dispatch(input, length, secret, secretLength);
}
static inline XXH64_hash_t varve_xxh3_64(const void *input, size_t length) {
    return XXH3_64bits_dispatch(input, length);
}
#else
static inline XXH128_hash_t varve_xxh3_128_with_secret(const void *input, size_t length,
                                                       const void *secret, size_t secretLength) {
    return XXH3_128bits_withSecret(input, length, secret, secretLength);
}
static inline XXH64_hash_t varve_xxh3_64(const void *input, size_t length) {
    return XXH3_64bits(input, length);
}
#endif
