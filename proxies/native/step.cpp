// Training steps of one proxy on one CPU thread: the model of proxies/model.py, its gradient, and the AdamW of
// proxies/optim.py.
//
// A sequence is taken through the whole model at a time, so that its activations stay in the core's caches, and no
// framework stands between the products. Shape letters: T tokens, d width, H heads, w = d / H, f hidden, V vocabulary.
// Matrices are row-major, a weight is [in][out].

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "gemm.h"

struct Shape {
    int64_t depth, width, heads, hidden, vocabulary, context, tied;
};

struct Adam {
    double beta1, beta2, epsilon, clip;
};

namespace {

constexpr float EPSILON = 1e-6f;
constexpr long QUERIES = 32;  // rows of the attention matrix at a time
constexpr long HEAD_ROWS = 64;  // rows of logits at a time
constexpr long SLACK = 64;  // floats behind every buffer, which whole vectors may touch

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

    // A head's query or key at position t, scaled to unit rms and rotated, times `scale`.
    float rotated(const float *x, long t, float scale, float *out) {
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
    void rotated_backward(const float *dy, const float *y, long t, float scale, float inverse, float *dx) {
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

    void attention(Layer &l) {
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

    void attention_backward(Layer &l, float *gradient) {
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
    static void softmax_backward(long valid, long end, float log_sum, float along, float *scores, float *dscores) {
#pragma omp simd
        for (long i = 0; i < padded(valid); ++i) {
            const float share = fast_exp(scores[i] - log_sum);
            scores[i] = i < valid ? share : 0.0f;
            dscores[i] = i < valid ? share * (dscores[i] - along) : 0.0f;
        }
        clear(scores, padded(valid), end);
        clear(dscores, padded(valid), end);
    }

    void mlp(Layer &l) {
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

    void mlp_backward(Layer &l, float *gradient) {
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

    void head(const int32_t *targets, float *losses, float *gradient, float share) {
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

// One update of proxies.optim.AdamW; `step` counts from 0.
void adamw(long count, float *parameters, float *first, float *second, const float *gradient, const float *rates,
           const float *decays, const Adam &adam, long step, double factor) {
    double square = 0;
    for (long from = 0; from < count; from += 4096) {
        const long n = std::min<long>(4096, count - from);
        square += dot(gradient + from, gradient + from, n);
    }
    const float clip = std::min(1.0, adam.clip / (std::sqrt(square) + 1e-6));
    const float beta1 = adam.beta1, beta2 = adam.beta2, epsilon = adam.epsilon;
    const float unbias = 1.0 / std::sqrt(1.0 - std::pow(adam.beta2, step + 1));
    const float move = factor / (1.0 - std::pow(adam.beta1, step + 1)), shrink = factor;
#pragma omp simd
    for (long i = 0; i < count; ++i) {
        const float g = gradient[i] * clip;
        first[i] += (1.0f - beta1) * (g - first[i]);
        second[i] = beta2 * second[i] + (1.0f - beta2) * g * g;
        const float kept = parameters[i] - shrink * decays[i] * parameters[i];
        parameters[i] = kept - move * rates[i] * first[i] / (std::sqrt(second[i]) * unbias + epsilon);
    }
}

template <class Kind>
void train(const Shape &shape, const float *cosines, const float *sines, float *parameters, float *first, float *second,
           const float *rates, const float *decays, const Adam &adam, const int32_t *tokens, const int64_t *batches,
           const double *factors, long steps, long first_step, float *losses) {
    Model<Kind> model(shape, cosines, sines);
    const long T = shape.context, count = model.parameters();
    std::vector<float> gradient(count), by_token(T);
    for (long step = 0; step < steps; ++step) {
        model.load(parameters);
        std::fill(gradient.begin(), gradient.end(), 0.0f);
        const float share = 1.0f / (batches[step] * T);
        double total = 0;
        for (long b = 0; b < batches[step]; ++b, tokens += T + 1) {
            model(tokens, by_token.data(), gradient.data(), share);
            for (float loss : by_token) total += loss;
        }
        losses[step] = total * share;
        adamw(count, parameters, first, second, gradient.data(), rates, decays, adam, first_step + step, factors[step]);
    }
}

void score(const Shape &shape, const float *cosines, const float *sines, const float *parameters, const int32_t *tokens,
           long sequences, float *losses) {
    Model<Single> model(shape, cosines, sines);
    model.load(parameters);
    for (long i = 0; i < sequences; ++i) model(tokens + i * (shape.context + 1), losses + i * shape.context, nullptr, 0);
}

template <class Kind>
double products(long rounds) {
    constexpr int ROWS = 6, VECTORS = 2;  // enough sums for the latency of a product, and they fit into the registers
    volatile long unknown = 0;  // to the compiler, which would work out beforehand what never changes
    const long stride = unknown;
    typename Kind::Element factors[VECTORS * LANES] = {};
    float sums[ROWS * VECTORS * LANES];
    tile<Kind, ROWS, VECTORS>(rounds, {factors, stride, stride}, factors, stride, sums, VECTORS * LANES,
                              VECTORS * LANES, false);
    volatile float used = 0;
    for (float sum : sums) used = used + sum;
    return 2.0 * (Kind::elements(2) == 1 ? 2 : 1) * LANES * ROWS * VECTORS * rounds;
}

// 0, or 1 where memory is short: no exception may leave for a caller that is not C++.
template <class Work>
int64_t guarded(Work work) {
    try {
        work();
        return 0;
    } catch (const std::bad_alloc &) {
        return 1;
    }
}

}  // namespace

extern "C" {

int64_t mixlab_has_bf16() {
#if defined(__AVX512BF16__)
    return 1;
#else
    return 0;
#endif
}

// `steps` steps in place on parameters and moments, [P] each. Step s reads batches[s] sequences of T + 1 tokens, which
// follow one another in `tokens`, at factors[s] of the peak rates; its mean loss goes to losses[s].
int64_t mixlab_train(const Shape *shape, const float *cosines, const float *sines, float *parameters, float *first,
                     float *second, const float *rates, const float *decays, const Adam *adam, const int32_t *tokens,
                     const int64_t *batches, const double *factors, int64_t steps, int64_t first_step, int64_t bf16,
                     float *losses) {
    return guarded([=] {
        auto run = train<Single>;
        if (bf16) run = train<Brain>;
        run(*shape, cosines, sines, parameters, first, second, rates, decays, *adam, tokens, batches, factors, steps,
            first_step, losses);
    });
}

// Products in registers as often as `rounds` says, which is as fast as this core multiplies; returns the floating-point
// operations.
double mixlab_products(int64_t rounds, int64_t bf16) {
    return bf16 ? products<Brain>(rounds) : products<Single>(rounds);
}

// Losses of every token of `sequences` sequences, [sequences][T], in fp32.
int64_t mixlab_score(const Shape *shape, const float *cosines, const float *sines, const float *parameters,
                     const int32_t *tokens, int64_t sequences, float *losses) {
    return guarded([=] { score(*shape, cosines, sines, parameters, tokens, sequences, losses); });
}
}
