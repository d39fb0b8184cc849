// A proxy on one CPU thread: where its parameters and activations lie, and the order of its layers (layers.h).
//
// A sequence is taken through the whole model at a time, so that its activations stay in the core's caches, and no
// framework comes between the products. The model is that of proxies/model/reference.py, which is written to be read.
// Shape letters: T tokens, d width, H heads, w = d / H, f hidden, V vocabulary. Matrices are row-major, a weight is
// [in][out].
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "gemm.h"
#include "vectors.h"

struct Shape {
    int64_t depth, width, heads, hidden, vocabulary, context, tied;
};

namespace {

constexpr long QUERIES = 32;  // rows of the attention matrix at a time
constexpr long HEAD_ROWS = 64;  // rows of logits at a time
constexpr long SLACK = 64;  // floats behind every buffer, which whole vectors may touch

class Arena {
  public:
    float *floats(long count) {
        blocks_.push_back(std::make_unique<Line[]>((count + SLACK) / LINE + 1));
        return blocks_.back()[0].values;
    }

    template <class Element>
    Element *elements(long count) {
        return reinterpret_cast<Element *>(floats(count));
    }

  private:
    static constexpr long LINE = 16;

    struct alignas(64) Line {  // of the cache
        float values[LINE];
    };

    std::vector<std::unique_ptr<Line[]>> blocks_;
};

template <class Kind>
class Model {
    using Element = typename Kind::Element;

    // A matrix at `offset` of the parameters, in panels for products with it and with its transpose.
    struct Weight {
        long offset, in, out;
        bool transposed;  // the parameters hold [out][in]: a head tied to the embedding
        Element *forward, *backward;
    };

    struct Layer {
        long first_gain, second_gain;
        Weight qkv, attention_out, mlp_in, mlp_out;
        // Saved for the backward pass, [T][...] each; q, k and v are [H][T][w], q with the scale of attention in it.
        float *first, *first_inverse, *q, *k, *v, *q_inverse, *k_inverse, *log_sum, *mixed;
        float *second, *second_inverse, *inner;
    };

  public:
    Model(const Shape &shape, const float *cosines, const float *sines)
        : T(shape.context), d(shape.width), f(shape.hidden), V(shape.vocabulary), H(shape.heads), w(d / H),
          scores_row_(padded(T)), logits_row_(padded(V)), cosines_(cosines), sines_(sines),
          attention_scale_(1.0f / std::sqrt(float(w))), head_scale_(shape.tied ? 1.0f / d : 1.0f) {
        count_ = V * d;
        for (long i = 0; i < shape.depth; ++i) layers_.push_back(layer());
        final_gain_ = gain();
        head_ = shape.tied ? weight(0, d, V, true) : weight(d, V);
        const long widest = std::max({3 * d, 2 * f, HEAD_ROWS * V / T + 1});
        for (float **each : {&x_, &dx_, &unit_, &narrow_, &dnarrow_}) *each = memory_.floats(T * d);
        for (float **each : {&hidden_, &dhidden_}) *each = memory_.floats(T * f);
        for (float **each : {&scores_, &dscores_}) *each = memory_.floats(QUERIES * scores_row_);
        for (float **each : {&dq_, &dk_, &dv_}) *each = memory_.floats(T * w);
        inverse_ = memory_.floats(T), wide_ = memory_.floats(T * 3 * d), logits_ = memory_.floats(HEAD_ROWS * logits_row_);
        left_ = elements(T * std::max(widest, QUERIES));
        right_ = elements(panel_elements<Single>(T, widest));
        for (Element **each : {&keys_, &values_}) *each = elements(panel_elements<Kind>(T, w));
        for (Element **each : {&keys_turned_, &values_turned_}) *each = elements(panel_elements<Kind>(w, T));
    }

    long parameters() const { return count_; }

    // Take new parameters, which stay the caller's.
    void load(const float *parameters) {
        parameters_ = parameters;
        for (Layer &layer : layers_)
            for (Weight *each : {&layer.qkv, &layer.attention_out, &layer.mlp_in, &layer.mlp_out}) prepare(*each);
        prepare(head_);
    }

    // Losses of every token after the first, [T]; `gradient` of `share` times their sum is added where it is not null.
    void operator()(const int32_t *tokens, float *losses, float *gradient, float share) {
        for (long t = 0; t < T; ++t) std::copy_n(parameters_ + tokens[t] * d, d, x_ + t * d);
        for (Layer &layer : layers_) {
            attention(layer);
            mlp(layer);
        }
        head(tokens + 1, losses, gradient, share);
        if (gradient == nullptr) return;
        for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
            mlp_backward(*layer, gradient);
            attention_backward(*layer, gradient);
        }
        for (long t = 0; t < T; ++t) {
            float *row = gradient + tokens[t] * d;
#pragma omp simd
            for (long i = 0; i < d; ++i) row[i] += dx_[t * d + i];
        }
    }

  private:
    Element *elements(long count) { return memory_.template elements<Element>(count); }

    long gain() {
        count_ += d;
        return count_ - d;
    }

    Weight weight(long offset, long in, long out, bool transposed) {
        return {offset, in, out, transposed, elements(panel_elements<Kind>(in, out)),
                elements(panel_elements<Kind>(out, in))};
    }

    Weight weight(long in, long out) {
        count_ += in * out;
        return weight(count_ - in * out, in, out, false);
    }

    Layer layer() {
        Layer l;
        l.first_gain = gain(), l.qkv = weight(d, 3 * d), l.attention_out = weight(d, d);
        l.second_gain = gain(), l.mlp_in = weight(d, 2 * f), l.mlp_out = weight(f, d);
        for (float **each : {&l.first, &l.q, &l.k, &l.v, &l.mixed, &l.second}) *each = memory_.floats(T * d);
        for (float **each : {&l.q_inverse, &l.k_inverse, &l.log_sum}) *each = memory_.floats(T * H);
        for (float **each : {&l.first_inverse, &l.second_inverse}) *each = memory_.floats(T);
        l.inner = memory_.floats(T * 2 * f);
        return l;
    }

    void prepare(Weight &weight) {
        const float *matrix = parameters_ + weight.offset;
        const long in = weight.in, out = weight.out;
        if (weight.transposed) {
            pack_turned<Kind>(matrix, in, in, out, weight.forward);
            pack<Kind>(matrix, in, out, in, weight.backward);
        } else {
            pack<Kind>(matrix, out, in, out, weight.forward);
            pack_turned<Kind>(matrix, out, out, in, weight.backward);
        }
    }

    // y (+)= x W for `rows` rows, those of y `y_row` apart.
    void project(const float *x, long rows, const Weight &weight, float *y, long y_row, bool add) {
        multiply<Kind>(rows, weight.out, weight.in, Kind::left(x, weight.in, rows, weight.in, left_),
                       panels<Kind>(weight.forward, weight.in), y, y_row, add);
    }

    // dx = dy W^T; the rows of dy are `dy_row` apart.
    void project_back(const float *dy, long dy_row, long rows, const Weight &weight, float *dx) {
        multiply<Kind>(rows, weight.in, weight.out, Kind::left(dy, dy_row, rows, weight.out, left_),
                       panels<Kind>(weight.backward, weight.out), dx, weight.in, false);
    }

    // x^T dy is added to the weight's gradient.
    void add_gradient(const float *x, const float *dy, long dy_row, long rows, const Weight &weight, float *gradient) {
        const long in = weight.in, out = weight.out;
        if (weight.transposed)
            multiply<Kind>(out, in, rows, Kind::left_turned(dy, dy_row, rows, out, left_),
                           Kind::right(x, in, rows, in, right_), gradient + weight.offset, in, true);
        else
            multiply<Kind>(in, out, rows, Kind::left_turned(x, in, rows, in, left_),
                           Kind::right(dy, dy_row, rows, out, right_), gradient + weight.offset, out, true);
    }

    // unit = x / rms(x) by row, and narrow = unit * gain.
    void norm(long gain, float *unit, float *inverse) {
        const float *gains = parameters_ + gain;
        for (long t = 0; t < T; ++t) {
            const float *x = x_ + t * d;
            const float factor = inverse[t] = inverse_rms(x, d);
            float *y = unit + t * d, *narrow = narrow_ + t * d;
#pragma omp simd
            for (long i = 0; i < d; ++i) {
                y[i] = x[i] * factor;
                narrow[i] = y[i] * gains[i];
            }
        }
    }

    // narrow = unit * gain.
    void scaled(const float *unit, long gain) {
        const float *gains = parameters_ + gain;
        for (long t = 0; t < T; ++t)
#pragma omp simd
            for (long i = 0; i < d; ++i) narrow_[t * d + i] = unit[t * d + i] * gains[i];
    }

    // dx (+)= the gradient through a norm whose output has the gradient dnarrow.
    void norm_backward(long gain, const float *unit, const float *inverse, float *gradient, bool add) {
        const float *gains = parameters_ + gain;
        float *dgains = gradient + gain;
        for (long t = 0; t < T; ++t) {
            float *dy = dnarrow_ + t * d, *dx = dx_ + t * d;
            const float *y = unit + t * d;
            float along = 0;
#pragma omp simd reduction(+ : along)
            for (long i = 0; i < d; ++i) {
                dgains[i] += dy[i] * y[i];
                dy[i] *= gains[i];
                along += dy[i] * y[i];
            }
            along /= d;
            const float kept = add ? 1.0f : 0.0f;
#pragma omp simd
            for (long i = 0; i < d; ++i) dx[i] = kept * dx[i] + (dy[i] - y[i] * along) * inverse[t];
        }
    }

    // Forward and backward; see layers.h.
    float rotated(const float *x, long t, float scale, float *out);
    void rotated_backward(const float *dy, const float *y, long t, float scale, float inverse, float *dx);
    void attention(Layer &l);
    void attention_backward(Layer &l, float *gradient);
    static void softmax_backward(long valid, long end, float log_sum, float along, float *scores, float *dscores);
    void mlp(Layer &l);
    void mlp_backward(Layer &l, float *gradient);
    void head(const int32_t *targets, float *losses, float *gradient, float share);

    const long T, d, f, V, H, w;
    const long scores_row_, logits_row_;  // floats from one row to the next
    const float *cosines_, *sines_;
    const float attention_scale_, head_scale_;
    long count_, final_gain_;
    Arena memory_;
    std::vector<Layer> layers_;
    Weight head_;
    const float *parameters_ = nullptr;
    float *x_, *dx_, *unit_, *inverse_, *narrow_, *dnarrow_, *wide_, *hidden_, *dhidden_, *logits_;
    float *scores_, *dscores_, *dq_, *dk_, *dv_;
    Element *left_, *right_, *keys_, *keys_turned_, *values_, *values_turned_;
};

}  // namespace
