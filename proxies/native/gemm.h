// Small matrix products in one thread, in fp32 or with bf16 operands and fp32 sums.
//
// Every operand is an array of 4-byte elements: a float, or with bf16 a pair of neighbours along the summed dimension.
// The right operand is stored [K][N] with its rows far enough from the end of its buffer that a whole vector can be
// read past the last column.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

constexpr int TILE_ROWS = 8, TILE_VECTORS = LANES == 8 ? 1 : 2;

struct Single {
    using Element = float;
    static constexpr int PAIR = 1;

    static Vector mul_add(Vector sum, float a, const float *b) { return sum + a * *reinterpret_cast<const Vector *>(b); }

    // Rows of x, [T][K], as a left operand summed over K.
    static const float *rows(const float *x, long, long, float *) { return x; }

    // x, [K][N], as an operand summed over K.
    static const float *columns(const float *x, long, long, float *) { return x; }

    // The same in a place of its own.
    static void pack(const float *x, long K, long N, float *out) { std::memcpy(out, x, 4 * K * N); }
};

#if defined(__AVX512BF16__)
inline uint32_t rounded(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits + 0x7fff + ((bits >> 16) & 1);  // to the nearest, ties to even, in the upper half
}

struct Brain {
    using Element = uint32_t;
    static constexpr int PAIR = 2;

    static Vector mul_add(Vector sum, uint32_t a, const uint32_t *b) {
        const __m512i pairs = _mm512_loadu_si512(b);
        return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(a), (__m512bh)pairs);
    }

    static const uint32_t *rows(const float *x, long T, long K, uint32_t *out) {
        const long half = (K + 1) / 2;
        for (long t = 0; t < T; ++t, x += K) {
            uint16_t *row = reinterpret_cast<uint16_t *>(out + t * half);
            long k = 0;
            for (; k + 16 <= K; k += 16)
                _mm256_storeu_si256((__m256i *)(row + k), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + k)));
            for (; k < K; ++k) row[k] = rounded(x[k]) >> 16;
            if (K % 2) row[K] = 0;
        }
        return out;
    }

    static const uint32_t *columns(const float *x, long K, long N, uint32_t *out) {
        for (long k = 0; k + 1 < K; k += 2) {
            const float *even = x + k * N, *odd = even + N;
            uint32_t *row = out + k / 2 * N;
            for (long n = 0; n < N; ++n) row[n] = rounded(even[n]) >> 16 | (rounded(odd[n]) & 0xffff0000u);
        }
        if (K % 2)
            for (long n = 0; n < N; ++n) out[K / 2 * N + n] = rounded(x[(K - 1) * N + n]) >> 16;
        return out;
    }

    static void pack(const float *x, long K, long N, uint32_t *out) { columns(x, K, N, out); }
};
#endif

// A left operand: element (m, k) lies at data[m * row + k * column].
template <class Kind>
struct Left {
    const typename Kind::Element *data;
    long row, column;
};

template <class Kind, int ROWS, int VECTORS>
static inline void tile(long K, Left<Kind> a, const typename Kind::Element *b, long b_row, float *c, long c_row,
                        long columns, bool add) {
    Vector sums[ROWS][VECTORS] = {};
    for (long k = 0; k < K; ++k)
        for (int m = 0; m < ROWS; ++m)
            for (int v = 0; v < VECTORS; ++v)
                sums[m][v] = Kind::mul_add(sums[m][v], a.data[m * a.row + k * a.column], b + k * b_row + v * LANES);
    if (columns == VECTORS * LANES) {
        for (int m = 0; m < ROWS; ++m)
            for (int v = 0; v < VECTORS; ++v) {
                Vector *out = reinterpret_cast<Vector *>(c + m * c_row + v * LANES);
                *out = add ? *out + sums[m][v] : sums[m][v];
            }
        return;
    }
    for (int m = 0; m < ROWS; ++m)
        for (long n = 0; n < columns; ++n) {
            const float sum = sums[m][n / LANES][n % LANES];
            c[m * c_row + n] = add ? c[m * c_row + n] + sum : sum;
        }
}

template <class Kind, int VECTORS>
static inline void panel(long M, long K, Left<Kind> a, const typename Kind::Element *b, long b_row, float *c,
                         long c_row, long columns, bool add) {
    long m = 0;
    auto at = [&](long row) { return Left<Kind>{a.data + row * a.row, a.row, a.column}; };
    for (; m + TILE_ROWS <= M; m += TILE_ROWS)
        tile<Kind, TILE_ROWS, VECTORS>(K, at(m), b, b_row, c + m * c_row, c_row, columns, add);
    for (; m < M; ++m) tile<Kind, 1, VECTORS>(K, at(m), b, b_row, c + m * c_row, c_row, columns, add);
}

// C (+)= A B with K elements summed: A is M x K, B is K x N with rows of b_row elements, C has rows of c_row floats.
template <class Kind>
static void multiply(long M, long N, long K, Left<Kind> a, const typename Kind::Element *b, long b_row, float *c,
                     long c_row, bool add) {
    long n = 0;
    for (; N - n > LANES * (TILE_VECTORS - 1); n += LANES * TILE_VECTORS) {
        const long columns = N - n < LANES * TILE_VECTORS ? N - n : LANES * TILE_VECTORS;
        panel<Kind, TILE_VECTORS>(M, K, a, b + n, b_row, c + n, c_row, columns, add);
    }
    if (n < N) panel<Kind, 1>(M, K, a, b + n, b_row, c + n, c_row, N - n, add);
}
