/* Counts which blocks of the core an input reaches, for the fuzzer. Code that gcc has compiled with
   -fsanitize-coverage=trace-pc calls __sanitizer_cov_trace_pc in each block. This library is
   preloaded. */
#include <stdint.h>
#include <string.h>

enum { PLACES = 1 << 16 };

uint8_t coverage_counts[PLACES];
static uint8_t seen[PLACES];
static __thread uint32_t before;

void __sanitizer_cov_trace_pc(void) {
    uint32_t pc = (uint32_t)((uintptr_t)__builtin_return_address(0) * 0x9E3779B97F4A7C15u >> 40);
    uint8_t *count = &coverage_counts[(pc ^ before) % PLACES];
    before = pc >> 1; /* so that each edge from block to block has its own place */
    *count += *count < 255;
}

/* Return one bit for the magnitude of a count: 1, 2-3, 4-7, ... */
static uint8_t step_of(uint8_t count) {
    return (uint8_t)(1u << (31 - __builtin_clz(count)));
}

/* Return how many places have a magnitude that no earlier input reached, and reset the counts. */
int coverage_new_places(void) {
    int found = 0;
    for (int i = 0; i < PLACES; i += 8) {
        uint64_t some;
        memcpy(&some, coverage_counts + i, 8);
        for (int j = i; some && j < i + 8; j++) {
            uint8_t step = coverage_counts[j] ? step_of(coverage_counts[j]) : 0;
            found += (step & ~seen[j]) != 0;
            seen[j] |= step;
        }
    }
    memset(coverage_counts, 0, PLACES);
    before = 0;
    return found;
}
