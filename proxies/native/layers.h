// The layers of a model (model.h), forward and backward: attention, SwiGLU and the head.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "model.h"

namespace {

// A head's query or key at position t, scaled to unit rms and rotated, times `scale`.
template <class Kind>
inline float Model<Kind>::rotated(const float *x, long t, float scale, float *out) {
    const float inverse = inverse_rms(x, w), factor = inverse * scale;
    const float *cosine = cosines_ + t * w / 2, *sine = sines_ + t * w / 2;
#pragma omp simd
    for (long i = 0; i < w / 2; ++i) {
        const float first = x[i] * factor, second = x[i + w / 2] * factor;
        out[i] = first * cosine[i] - second * sine[i];
        out[i + w / 2] = first * sine[i] + second * cosine[i];
    }
    return inverse;
}

// The gradient of `rotated`'s x, from that of its output and the output itself.
template <class Kind>
inline void Model<Kind>::rotated_backward(const float *dy, const float *y, long t, float scale, float inverse,
                                          float *dx) {
    const float along = dot(dy, y, w) / (w * scale);
    const float *cosine = cosines_ + t * w / 2, *sine = sines_ + t * w / 2;
#pragma omp simd
    for (long i = 0; i < w / 2; ++i) {
        const float first = (dy[i] * scale - y[i] * along) * inverse;
        const float second = (dy[i + w / 2] * scale - y[i + w / 2] * along) * inverse;
        dx[i] = first * cosine[i] + second * sine[i];
        dx[i + w / 2] = second * cosine[i] - first * sine[i];
    }
}

template <class Kind>
inline void Model<Kind>::attention(Layer &l) {
    norm(l.first_gain, l.first, l.first_inverse);
    project(narrow_, T, l.qkv, wide_, 3 * d, false);
    for (long t = 0; t < T; ++t)
        for (long h = 0; h < H; ++h) {
            const float *qkv = wide_ + t * 3 * d + h * w;
            const long at = h * T + t;
            l.q_inverse[at] = rotated(qkv, t, attention_scale_, l.q + at * w);
            l.k_inverse[at] = rotated(qkv + d, t, 1.0f, l.k + at * w);
            std::copy_n(qkv + 2 * d, w, l.v + at * w);
        }
    for (long h = 0; h < H; ++h) {
        const float *q = l.q + h * T * w, *k = l.k + h * T * w, *v = l.v + h * T * w;
        const Right<Kind> keys_turned = pack_turned<Kind>(k, w, w, T, keys_turned_);
        const Right<Kind> values = Kind::right(v, w, T, w, values_);
        for (long from = 0; from < T; from += QUERIES) {
            const long to = std::min(T, from + QUERIES), rows = to - from;
            multiply<Kind>(rows, to, w, Kind::left(q + from * w, w, rows, w, left_), keys_turned, scores_, scores_row_,
                           false);
            float shares[QUERIES];
            for (long t = 0; t < rows; ++t) {
                // Queries and keys have unit rms, so that no score exceeds sqrt(w): they need no highest to be
                // taken from them.
                const float sum = exponentials(scores_ + t * scores_row_, from + t + 1, to, 0.0f, 1.0f);
                l.log_sum[h * T + from + t] = std::log(sum);
                shares[t] = 1.0f / sum;
            }
            float *out = l.mixed + from * d + h * w;
            multiply<Kind>(rows, w, to, Kind::left(scores_, scores_row_, rows, to, left_), values, out, d, false);
            for (long t = 0; t < rows; ++t)
#pragma omp simd
                for (long i = 0; i < w; ++i) out[t * d + i] *= shares[t];
        }
    }
    project(l.mixed, T, l.attention_out, x_, d, true);
}

template <class Kind>
inline void Model<Kind>::attention_backward(Layer &l, float *gradient) {
    project_back(dx_, d, T, l.attention_out, dnarrow_);
    add_gradient(l.mixed, dx_, d, T, l.attention_out, gradient);
    for (long h = 0; h < H; ++h) {
        const float *q = l.q + h * T * w, *k = l.k + h * T * w, *v = l.v + h * T * w;
        const Right<Kind> keys = Kind::right(k, w, T, w, keys_);
        const Right<Kind> keys_turned = pack_turned<Kind>(k, w, w, T, keys_turned_);
        const Right<Kind> values_turned = pack_turned<Kind>(v, w, w, T, values_turned_);
        // From the last block, which sees every key and so begins the sums over queries.
        for (long from = (T - 1) / QUERIES * QUERIES; from >= 0; from -= QUERIES) {
            const long to = std::min(T, from + QUERIES), rows = to - from;
            const float *out = l.mixed + from * d + h * w, *dout = dnarrow_ + from * d + h * w;
            const float *queries = q + from * w, *log_sums = l.log_sum + h * T + from;
            multiply<Kind>(rows, to, w, Kind::left(queries, w, rows, w, left_), keys_turned, scores_, scores_row_,
                           false);
            multiply<Kind>(rows, to, w, Kind::left(dout, d, rows, w, left_), values_turned, dscores_, scores_row_,
                           false);
            for (long t = 0; t < rows; ++t)
                softmax_backward(from + t + 1, to, log_sums[t], dot(out + t * d, dout + t * d, w),
                                 scores_ + t * scores_row_, dscores_ + t * scores_row_);
            multiply<Kind>(rows, w, to, Kind::left(dscores_, scores_row_, rows, to, left_), keys, dq_ + from * w, w,
                           false);
            const bool add = to < T;
            multiply<Kind>(to, w, rows, Kind::left_turned(dscores_, scores_row_, rows, to, left_),
                           Kind::right(queries, w, rows, w, right_), dk_, w, add);
            multiply<Kind>(to, w, rows, Kind::left_turned(scores_, scores_row_, rows, to, left_),
                           Kind::right(dout, d, rows, w, right_), dv_, w, add);
        }
        for (long t = 0; t < T; ++t) {
            float *out = wide_ + t * 3 * d + h * w;
            const long at = h * T + t;
            rotated_backward(dq_ + t * w, q + t * w, t, attention_scale_, l.q_inverse[at], out);
            rotated_backward(dk_ + t * w, k + t * w, t, 1.0f, l.k_inverse[at], out + d);
            std::copy_n(dv_ + t * w, w, out + 2 * d);
        }
    }
    scaled(l.first, l.first_gain);
    project_back(wide_, 3 * d, T, l.qkv, dnarrow_);
    add_gradient(narrow_, wide_, 3 * d, T, l.qkv, gradient);
    norm_backward(l.first_gain, l.first, l.first_inverse, gradient, true);
}

// Scores become probabilities and `dscores`, the gradient of those, becomes that of the scores; `along` is the sum
// of the products of both, which is that of the output and its gradient. Zero from `valid` to `end`.
template <class Kind>
inline void Model<Kind>::softmax_backward(long valid, long end, float log_sum, float along, float *scores, float *dscores) {
#pragma omp simd
    for (long i = 0; i < padded(valid); ++i) {
        const float share = fast_exp(scores[i] - log_sum);
        scores[i] = i < valid ? share : 0.0f;
        dscores[i] = i < valid ? share * (dscores[i] - along) : 0.0f;
    }
    clear(scores, padded(valid), end);
    clear(dscores, padded(valid), end);
}

template <class Kind>
inline void Model<Kind>::mlp(Layer &l) {
    norm(l.second_gain, l.second, l.second_inverse);
    project(narrow_, T, l.mlp_in, l.inner, 2 * f, false);
    for (long t = 0; t < T; ++t) {
        const float *gate = l.inner + t * 2 * f, *up = gate + f;
        float *hidden = hidden_ + t * f;
#pragma omp simd
        for (long i = 0; i < f; ++i) hidden[i] = gate[i] * sigmoid(gate[i]) * up[i];
    }
    project(hidden_, T, l.mlp_out, x_, d, true);
}

template <class Kind>
inline void Model<Kind>::mlp_backward(Layer &l, float *gradient) {
    project_back(dx_, d, T, l.mlp_out, dhidden_);
    // Gate and up, needed no more, become their gradients, and the hidden channels are made again on the way.
    for (long t = 0; t < T; ++t) {
        float *gate = l.inner + t * 2 * f, *up = gate + f, *hidden = hidden_ + t * f;
        const float *dhidden = dhidden_ + t * f;
#pragma omp simd
        for (long i = 0; i < f; ++i) {
            const float open = sigmoid(gate[i]), passed = gate[i] * open;
            hidden[i] = passed * up[i];
            gate[i] = dhidden[i] * up[i] * (open + passed * (1.0f - open));
            up[i] = dhidden[i] * passed;
        }
    }
    add_gradient(hidden_, dx_, d, T, l.mlp_out, gradient);
    scaled(l.second, l.second_gain);
    project_back(l.inner, 2 * f, T, l.mlp_in, dnarrow_);
    add_gradient(narrow_, l.inner, 2 * f, T, l.mlp_in, gradient);
    norm_backward(l.second_gain, l.second, l.second_inverse, gradient, true);
}

// Losses of every token, and with a gradient the beginning of the backward pass.
template <class Kind>
inline void Model<Kind>::head(const int32_t *targets, float *losses, float *gradient, float share) {
    norm(final_gain_, unit_, inverse_);
    for (long from = 0; from < T; from += HEAD_ROWS) {
        const long rows = std::min(HEAD_ROWS, T - from);
        project(narrow_ + from * d, rows, head_, logits_, logits_row_, false);
        for (long t = 0; t < rows; ++t) {
            float *row = logits_ + t * logits_row_, highest = row[0];
            const long target = targets[from + t];
            const float wanted = row[target];
#pragma omp simd reduction(max : highest)
            for (long i = 0; i < V; ++i) highest = std::max(highest, row[i]);
            const float sum = exponentials(row, V, V, highest, head_scale_);
            losses[from + t] = (highest - wanted) * head_scale_ + std::log(sum);
            if (gradient == nullptr) continue;
            const float scale = share * head_scale_, by = scale / sum;
#pragma omp simd
            for (long i = 0; i < logits_row_; ++i) row[i] *= by;
            row[target] -= scale;
        }
        if (gradient == nullptr) continue;
        project_back(logits_, logits_row_, rows, head_, dnarrow_ + from * d);
        add_gradient(narrow_ + from * d, logits_, logits_row_, rows, head_, gradient);
    }
    if (gradient != nullptr) norm_backward(final_gain_, unit_, inverse_, gradient, false);
}

}  // namespace
