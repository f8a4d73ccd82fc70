/* Which blocks of the core an input reaches, for the fuzzer: code that gcc compiled with
   -fsanitize-coverage=trace-pc calls __sanitizer_cov_trace_pc in each. To be preloaded. */
#include <stdint.h>
#include <string.h>

enum { PLACES = 1 << 16 };

uint8_t coverage_counts[PLACES];
static uint8_t seen[PLACES];
static __thread uint32_t before;

void __sanitizer_cov_trace_pc(void) {
    uint32_t pc = (uint32_t)((uintptr_t)__builtin_return_address(0) * 0x9E3779B97F4A7C15u >> 40);
    uint8_t *count = &coverage_counts[(pc ^ before) % PLACES];
    before = pc >> 1; /* not where it is, but the way there */
    *count += *count < 255;
}

/* How often, in steps of powers of two: one bit each. */
static uint8_t step_of(uint8_t count) {
    return (uint8_t)(1u << (31 - __builtin_clz(count)));
}

/* Count the places with a step that no input before had, and begin anew. */
int coverage_news(void) {
    int news = 0;
    for (int i = 0; i < PLACES; i += 8) {
        uint64_t some;
        memcpy(&some, coverage_counts + i, 8);
        for (int j = i; some && j < i + 8; j++) {
            uint8_t step = coverage_counts[j] ? step_of(coverage_counts[j]) : 0;
            news += (step & ~seen[j]) != 0;
            seen[j] |= step;
        }
    }
    memset(coverage_counts, 0, PLACES);
    before = 0;
    return news;
}
