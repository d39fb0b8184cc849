// Training steps of one proxy on one CPU thread: the gradient of a batch (model.h), and AdamW.

#include <cmath>
#include <cstdint>
#include <new>
#include <vector>

#include "layers.h"

struct Adam {
    double beta1, beta2, epsilon, clip;
};

namespace {

constexpr double CLIP_EPSILON = 1e-6;

// One update of AdamW, as in proxies/model/reference.py; `step` counts from 0.
void adamw(long count, float *parameters, float *first, float *second, const float *gradient, const float *rates,
           const float *decays, const Adam &adam, long step, double factor) {
    double square = 0;  // of the norm, from sums of 4096 squares in single precision
    for (long from = 0; from < count; from += 4096) {
        const long n = std::min<long>(4096, count - from);
        square += dot(gradient + from, gradient + from, n);
    }
    const float clip = std::min(1.0, adam.clip / (std::sqrt(square) + CLIP_EPSILON));
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
