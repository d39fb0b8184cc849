// What is done with vectors of floats: dot products, norms, exponentials.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "gemm.h"

namespace {

constexpr float EPSILON = 1e-6f;  // of a norm's mean square

// 2^(x log2 e): the whole part goes to the exponent, a Taylor polynomial has the rest, within 2 ulp.
inline float fast_exp(float x) {
    const float scaled = std::max(x, -87.0f) * 1.44269504089f;
    const float whole = std::rint(scaled), rest = scaled - whole;
    float power = 1.5403530393e-4f;
    power = power * rest + 1.3333558146e-3f;
    power = power * rest + 9.6181291076e-3f;
    power = power * rest + 5.5504108665e-2f;
    power = power * rest + 2.4022650696e-1f;
    power = power * rest + 6.9314718056e-1f;
    power = power * rest + 1.0f;
    const uint32_t exponent = static_cast<int32_t>(whole);
    return __builtin_bit_cast(float, __builtin_bit_cast(uint32_t, power) + (exponent << 23));
}

inline float sigmoid(float x) { return 1.0f / (1.0f + fast_exp(std::min(-x, 87.0f))); }

inline float dot(const float *a, const float *b, long n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < n; ++i) sum += a[i] * b[i];
    return sum;
}

inline float inverse_rms(const float *x, long n) { return 1.0f / std::sqrt(dot(x, x, n) / n + EPSILON); }

inline void clear(float *x, long from, long end) {
    if (from < end) std::fill(x + from, x + end, 0.0f);
}

// In place: x becomes exp((x - highest) * scale) as far as `valid`, whose sum is returned, and zero up to `end`. Whole
// vectors only, since a loop that ends between them would go on one by one.
inline float exponentials(float *x, long valid, long end, float highest, float scale) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < padded(valid); ++i) {
        const float power = fast_exp((x[i] - highest) * scale);
        x[i] = i < valid ? power : 0.0f;
        sum += x[i];
    }
    clear(x, padded(valid), end);
    return sum;
}

}  // namespace
