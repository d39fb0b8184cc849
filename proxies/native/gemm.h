// Small matrix products in one thread, in fp32 or with bf16 operands and fp32 sums.
//
// Every operand is an array of 4-byte elements: a float, or with bf16 a pair of neighbours along the summed dimension.
// K below counts elements; an odd last row of bf16 has a zero for its neighbour.
#pragma once

#include <algorithm>
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
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

// The sums of a tile, with an operand to go with them, fill the registers: 32 with AVX-512, else 16.
constexpr int TILE_ROWS = LANES == 16 ? 8 : 6, TILE_VECTORS = 2, TILE_COLUMNS = LANES * TILE_VECTORS;

// A left operand: element (m, k) lies at data[m * row + k * column].
template <class Kind>
struct Left {
    const typename Kind::Element *data;
    long row, column;
};

// A right operand: element (k, n) lies at data[n / TILE_COLUMNS * panel + k * row + n % TILE_COLUMNS]. A whole panel
// may be read where there are fewer columns.
template <class Kind>
struct Right {
    const typename Kind::Element *data;
    long row, panel;
};

// Elements of K rows and N columns in panels.
constexpr long panel_elements(long K, long N) { return (N + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS * K; }

// Fill panels of K rows from element(k, n); in blocks, so that whoever reads down a column stays within cache lines.
template <class Element, class Get>
static inline void fill_panels(long K, long N, Element *out, Get element) {
    constexpr long BLOCK = 16;
    for (long left = 0; left < N; left += TILE_COLUMNS, out += K * TILE_COLUMNS) {
        const long columns = std::min<long>(N - left, TILE_COLUMNS);
        for (long top = 0; top < K; top += BLOCK)
            for (long k = top; k < std::min(K, top + BLOCK); ++k) {
                for (long n = 0; n < columns; ++n) out[k * TILE_COLUMNS + n] = element(k, left + n);
                for (long n = columns; n < TILE_COLUMNS; ++n) out[k * TILE_COLUMNS + n] = 0;
            }
    }
}

struct Single {
    using Element = float;

    static long elements(long K) { return K; }

    static Vector mul_add(Vector sum, float a, const float *b) { return sum + a * *reinterpret_cast<const Vector *>(b); }

    // x, [M][K], as a left operand summed over K.
    static Left<Single> left(const float *x, long, long K, float *) { return {x, K, 1}; }

    // x, [K][M], as a left operand summed over K.
    static Left<Single> left_turned(const float *x, long, long M, float *) { return {x, 1, M}; }

    // x, [K][N], as a right operand summed over K, where it is used once: rearranging it would not pay.
    static Right<Single> right(const float *x, long, long N, float *) { return {x, N, TILE_COLUMNS}; }

    // The same in panels.
    static void pack(const float *x, long K, long N, float *out) {
        fill_panels(K, N, out, [=](long k, long n) { return x[k * N + n]; });
    }

    // x, [N][K], likewise.
    static void pack_turned(const float *x, long K, long N, float *out) {
        fill_panels(K, N, out, [=](long k, long n) { return x[n * K + k]; });
    }
};

struct Brain {
    using Element = uint32_t;

    static long elements(long K) { return (K + 1) / 2; }

    static uint32_t rounded(float x) {
        uint32_t bits;
        std::memcpy(&bits, &x, 4);
        return bits + 0x7fff + ((bits >> 16) & 1);  // to the nearest, ties to even, in the upper half
    }

    static uint32_t pair(float even, float odd) { return rounded(even) >> 16 | (rounded(odd) & 0xffff0000u); }

    static Vector mul_add(Vector sum, uint32_t a, const uint32_t *b) {
#if defined(__AVX512BF16__)
        const __m512i pairs = _mm512_loadu_si512(b);
        return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(a), (__m512bh)pairs);
#else
        // As exact and far slower: so that what is around it can be tested anywhere.
        const Bits pairs = *reinterpret_cast<const Bits *>(b), factors = pairs * 0 + a, odd = pairs * 0 + 0xffff0000u;
        return sum + (Vector)(factors << 16) * (Vector)(pairs << 16) + (Vector)(factors & odd) * (Vector)(pairs & odd);
#endif
    }

    static Left<Brain> left(const float *x, long M, long K, uint32_t *out) {
        const long half = elements(K);
        for (long m = 0; m < M; ++m, x += K) {
            uint32_t *row = out + m * half;
            long k = 0;
#if defined(__AVX512BF16__)
            for (; k + 16 <= K; k += 16)
                _mm256_storeu_si256((__m256i *)(row + k / 2), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + k)));
#endif
            for (; k + 1 < K; k += 2) row[k / 2] = pair(x[k], x[k + 1]);
            if (k < K) row[k / 2] = pair(x[k], 0);
        }
        return {out, half, 1};
    }

    static Left<Brain> left_turned(const float *x, long K, long M, uint32_t *out) {
        for (long k = 0; k < K; k += 2) {
            const float *even = x + k * M, *odd = even + M;
            uint32_t *row = out + k / 2 * M;
            if (k + 1 < K)
                for (long m = 0; m < M; ++m) row[m] = pair(even[m], odd[m]);
            else
                for (long m = 0; m < M; ++m) row[m] = pair(even[m], 0);
        }
        return {out, 1, M};
    }

    static Right<Brain> right(const float *x, long K, long N, uint32_t *out) {
        pack(x, K, N, out);
        return {out, TILE_COLUMNS, elements(K) * TILE_COLUMNS};
    }

    static void pack(const float *x, long K, long N, uint32_t *out) {
        // Without an odd last row the choice is made outside of the loop, which then is one of vectors.
        if (K % 2 == 0)
            fill_panels(K / 2, N, out, [=](long k, long n) { return pair(x[2 * k * N + n], x[(2 * k + 1) * N + n]); });
        else
            fill_panels(elements(K), N, out, [=](long k, long n) {
                return pair(x[2 * k * N + n], 2 * k + 1 < K ? x[(2 * k + 1) * N + n] : 0.0f);
            });
    }

    static void pack_turned(const float *x, long K, long N, uint32_t *out) {
        fill_panels(elements(K), N, out, [=](long k, long n) {
            return pair(x[n * K + 2 * k], 2 * k + 1 < K ? x[n * K + 2 * k + 1] : 0.0f);
        });
    }
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

// The rows from m on, as many at a time as `ROWS`, those that are left with smaller tiles.
template <class Kind, int ROWS, int VECTORS>
static inline void panel(long m, long M, long K, Left<Kind> a, const typename Kind::Element *b, long b_row, float *c,
                         long c_row, long columns, bool add) {
    for (; m + ROWS <= M; m += ROWS)
        tile<Kind, ROWS, VECTORS>(K, {a.data + m * a.row, a.row, a.column}, b, b_row, c + m * c_row, c_row, columns,
                                  add);
    if constexpr (ROWS > 1)
        if (m < M) panel<Kind, (ROWS > 4 ? 4 : ROWS / 2), VECTORS>(m, M, K, a, b, b_row, c, c_row, columns, add);
}

// C (+)= A B with K elements summed: A is M x K, B is K x N, C has rows of c_row floats.
template <class Kind>
static void multiply(long M, long N, long K, Left<Kind> a, Right<Kind> b, float *c, long c_row, bool add) {
    for (long n = 0; n < N; n += TILE_COLUMNS, b.data += b.panel, c += TILE_COLUMNS) {
        const long columns = std::min<long>(N - n, TILE_COLUMNS);
        if (columns > LANES)
            panel<Kind, TILE_ROWS, TILE_VECTORS>(0, M, K, a, b.data, b.row, c, c_row, columns, add);
        else
            panel<Kind, TILE_ROWS, 1>(0, M, K, a, b.data, b.row, c, c_row, columns, add);
    }
}
