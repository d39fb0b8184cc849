// Small matrix products in one thread, in fp32 or with bf16 operands and fp32 sums.
//
// Every operand is an array of 4-byte elements: a float, or with bf16 a pair of neighbours along the summed dimension.
// K counts what is summed, an odd last row of bf16 having a zero for its neighbour; `elements(K)` is how many elements
// that makes. Operands are built from matrices of floats whose rows are `row` apart. Whatever is written here ends with
// a whole vector, so every buffer has a vector of room behind it.
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

// `count`, or the next number of whole vectors.
constexpr long padded(long count) { return (count + LANES - 1) / LANES * LANES; }

// The first `count` lanes from x on, where that is fewer than all; zero in the others.
#if defined(__AVX512F__)
static inline Vector load_some(const float *x, long count) {
    return (Vector)_mm512_maskz_loadu_ps((1u << std::max(count, 0L)) - 1, x);
}

static inline void store_some(float *x, Vector lanes, long count) {
    _mm512_mask_storeu_ps(x, (1u << std::max(count, 0L)) - 1, (__m512)lanes);
}
#else
// Not inlined, lest whatever is indexed here be kept in memory there.
__attribute__((noinline)) static Vector load_some(const float *x, long count) {
    Vector lanes = {};
    for (long i = 0; i < count; ++i) lanes[i] = x[i];
    return lanes;
}

__attribute__((noinline)) static void store_some(float *x, Vector lanes, long count) {
    for (long i = 0; i < count; ++i) x[i] = lanes[i];
}
#endif

// The first `count` lanes from x on, all of them where it is more; zero in the others.
static inline Vector load(const float *x, long count) {
    return count >= LANES ? *reinterpret_cast<const Vector *>(x) : load_some(x, count);
}

static inline void store(float *x, Vector lanes, long count) {
    if (count >= LANES)
        *reinterpret_cast<Vector *>(x) = lanes;
    else
        store_some(x, lanes, count);
}

// A left operand: element (m, k) lies at data[m * row + k * column].
template <class Kind>
struct Left {
    const typename Kind::Element *data;
    long row, column;

    Left from_row(long m) const { return {data + m * row, row, column}; }
};

// A right operand: element (k, n) lies at data[n / TILE_COLUMNS * panel + k * row + n % TILE_COLUMNS]. A whole panel
// may be read where there are fewer columns.
template <class Kind>
struct Right {
    const typename Kind::Element *data;
    long row, panel;
};

// Elements of N columns in panels.
template <class Kind>
constexpr long panel_elements(long K, long N) {
    return (N + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS * Kind::elements(K);
}

// What `pack` or `pack_turned` has written.
template <class Kind>
Right<Kind> panels(const typename Kind::Element *packed, long K) {
    return {packed, TILE_COLUMNS, Kind::elements(K) * TILE_COLUMNS};
}

// x, [K][N], in panels.
template <class Kind>
static Right<Kind> pack(const float *x, long row, long K, long N, typename Kind::Element *out) {
    typename Kind::Element *to = out;
    for (long left = 0; left < N; left += TILE_COLUMNS)
        for (long k = 0; k < K; k += Kind::SUMMED, to += TILE_COLUMNS)
            for (long n = 0; n < TILE_COLUMNS; n += LANES)
                Kind::put(to + n, Kind::down(x + k * row + left + n, row, K - k, N - left - n));
    return panels<Kind>(out, K);
}

// x, [N][K], in panels of [K][N]; in squares, so that neither side is walked across its cache lines from end to end.
template <class Kind>
static Right<Kind> pack_turned(const float *x, long row, long K, long N, typename Kind::Element *out) {
    const long count = Kind::elements(K);
    typename Kind::Element square[LANES][LANES], *to = out;
    for (long left = 0; left < N; left += TILE_COLUMNS, to += count * TILE_COLUMNS)
        for (long n = 0; n < TILE_COLUMNS; n += LANES)
            for (long top = 0; top < count; top += LANES) {
                const long rows = std::clamp<long>(N - left - n, 0, LANES);
                const float *from = x + (left + n) * row + top * Kind::SUMMED;
                for (long i = 0; i < LANES; ++i)
                    Kind::put(square[i], Kind::along(from + i * row, i < rows ? K - top * Kind::SUMMED : 0));
                for (long k = 0; k < std::min<long>(count - top, LANES); ++k)
                    for (long i = 0; i < LANES; ++i) to[(top + k) * TILE_COLUMNS + n + i] = square[i][k];
            }
    return panels<Kind>(out, K);
}

struct Single {
    using Element = float;
    static constexpr long SUMMED = 1;  // rows of the summed dimension in an element

    static long elements(long K) { return K; }

    static void put(float *out, Vector lanes) { *reinterpret_cast<Vector *>(out) = lanes; }

    // Elements that follow one another along the summed dimension, from the `count` floats at x.
    static Vector along(const float *x, long count) { return load(x, count); }

    // Elements side by side, of which there are `count`, with `rows` more to be summed.
    static Vector down(const float *x, long, long, long count) { return load(x, count); }

    static Vector mul_add(Vector sum, float a, const float *b) { return sum + a * *reinterpret_cast<const Vector *>(b); }

    // x, [M][K], as a left operand summed over K.
    static Left<Single> left(const float *x, long row, long, long, float *) { return {x, row, 1}; }

    // x, [K][M], as a left operand summed over K.
    static Left<Single> left_turned(const float *x, long row, long, long, float *) { return {x, 1, row}; }

    // x, [K][N], as a right operand summed over K, where it is used few times: rearranging it would not pay.
    static Right<Single> right(const float *x, long row, long, long, float *) { return {x, row, TILE_COLUMNS}; }
};

struct Brain {
    using Element = uint32_t;
    static constexpr long SUMMED = 2;

    static long elements(long K) { return (K + 1) / 2; }

    static void put(uint32_t *out, Bits lanes) { *reinterpret_cast<Bits *>(out) = lanes; }

    // Where the processor has no such numbers, everything is as exact and far slower: so that the layouts can be tested
    // anywhere.
#if defined(__AVX512BF16__)
    static Bits along(const float *x, long count) {
        return (Bits)_mm512_cvtne2ps_pbh((__m512)load(x + LANES, count - LANES), (__m512)load(x, count));
    }

    static Bits down(const float *x, long row, long rows, long count) {
        const __m512 even = (__m512)load(x, count), odd = rows > 1 ? (__m512)load(x + row, count) : _mm512_setzero_ps();
        const __m512i interleaved = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                                     22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        return (Bits)_mm512_permutexvar_epi16(interleaved, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
    }

    static Vector mul_add(Vector sum, uint32_t a, const uint32_t *b) {
        const __m512i pairs = _mm512_loadu_si512(b);
        return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(a), (__m512bh)pairs);
    }
#else
    static Bits rounded(Vector x) {
        const Bits bits = (Bits)x;
        return bits + 0x7fff + ((bits >> 16) & 1);  // to the nearest, ties to even, in the upper half
    }

    static Bits pairs(Vector even, Vector odd) { return rounded(even) >> 16 | (rounded(odd) & 0xffff0000u); }

    static Bits along(const float *x, long count) {
        Vector even = {}, odd = {};
        for (long i = 0; i < LANES; ++i) {
            if (2 * i < count) even[i] = x[2 * i];
            if (2 * i + 1 < count) odd[i] = x[2 * i + 1];
        }
        return pairs(even, odd);
    }

    static Bits down(const float *x, long row, long rows, long count) {
        return pairs(load(x, count), rows > 1 ? load(x + row, count) : Vector{});
    }

    static Vector mul_add(Vector sum, uint32_t a, const uint32_t *b) {
        const Bits pairs = *reinterpret_cast<const Bits *>(b), factors = pairs * 0 + a, odd = pairs * 0 + 0xffff0000u;
        return sum + (Vector)(factors << 16) * (Vector)(pairs << 16) + (Vector)(factors & odd) * (Vector)(pairs & odd);
    }
#endif

    static Left<Brain> left(const float *x, long row, long M, long K, uint32_t *out) {
        const long count = elements(K);
        for (long m = 0; m < M; ++m)
            for (long k = 0; k < count; k += LANES) put(out + m * count + k, along(x + m * row + 2 * k, K - 2 * k));
        return {out, count, 1};
    }

    static Left<Brain> left_turned(const float *x, long row, long K, long M, uint32_t *out) {
        for (long k = 0; k < K; k += 2)
            for (long m = 0; m < M; m += LANES) put(out + k / 2 * M + m, down(x + k * row + m, row, K - k, M - m));
        return {out, 1, M};
    }

    static Right<Brain> right(const float *x, long row, long K, long N, uint32_t *out) {
        return pack<Brain>(x, row, K, N, out);
    }
};

template <class Kind, int ROWS, int VECTORS>
static inline void tile(long count, Left<Kind> a, const typename Kind::Element *b, long b_row, float *c, long c_row,
                        long columns, bool add) {
    // Unrolled, lest the sums be kept in memory.
    Vector sums[ROWS][VECTORS] = {};
    for (long k = 0; k < count; ++k)
#pragma GCC unroll 8
        for (int m = 0; m < ROWS; ++m)
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; ++v)
                sums[m][v] = Kind::mul_add(sums[m][v], a.data[m * a.row + k * a.column], b + k * b_row + v * LANES);
#pragma GCC unroll 8
    for (int m = 0; m < ROWS; ++m)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) {
            float *out = c + m * c_row + v * LANES;
            const long room = columns - v * LANES;
            store(out, add ? load(out, room) + sums[m][v] : sums[m][v], room);
        }
}

// As many of the rows at a time as `ROWS`, those that are left with smaller tiles.
template <class Kind, int ROWS, int VECTORS>
static inline void panel(long M, long count, Left<Kind> a, const typename Kind::Element *b, long b_row, float *c,
                         long c_row, long columns, bool add) {
    long m = 0;
    for (; m + ROWS <= M; m += ROWS)
        tile<Kind, ROWS, VECTORS>(count, a.from_row(m), b, b_row, c + m * c_row, c_row, columns, add);
    if constexpr (ROWS > 1)
        if (m < M)
            panel<Kind, (ROWS > 4 ? 4 : ROWS / 2), VECTORS>(M - m, count, a.from_row(m), b, b_row, c + m * c_row, c_row,
                                                            columns, add);
}

// C (+)= A B, summed over K: A is M x K, B is K x N, C has rows of c_row floats.
template <class Kind>
static void multiply(long M, long N, long K, Left<Kind> a, Right<Kind> b, float *c, long c_row, bool add) {
    const long count = Kind::elements(K);
    for (long n = 0; n < N; n += TILE_COLUMNS, b.data += b.panel, c += TILE_COLUMNS) {
        const long columns = std::min<long>(N - n, TILE_COLUMNS);
        if (columns > LANES)
            panel<Kind, TILE_ROWS, TILE_VECTORS>(M, count, a, b.data, b.row, c, c_row, columns, add);
        else
            panel<Kind, TILE_ROWS, 1>(M, count, a, b.data, b.row, c, c_row, columns, add);
    }
}
