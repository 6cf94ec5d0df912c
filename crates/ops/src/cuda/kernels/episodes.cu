// Fine-tuning of classifiers on the support sets of many episodes, one block per episode, in double
// precision as on the CPU.
//
// Gradient descent keeps each weight in the span of its initial value and the support rows. So the
// coefficients in this span are trained, one per support row and one for the initial value, and a
// step needs inner products only.
#if NUMBER_BITS == 64

// Inner products of the support rows, initial weights and queries `[supports + way + queries]` with
// the support rows and initial weights `[supports + way]` of each episode (blockIdx.x), one warp per
// product.
extern "C" __global__ void episode_products(const float* bank, const float* initial,
                                            const uint32* rows, double* products, uint32 columns,
                                            uint32 supports, uint32 way, uint32 queries) {
    uint32 width = supports + way, pairs = (width + queries) * width;
    rows += (uint64)blockIdx.x * (supports + queries);
    initial += (uint64)blockIdx.x * way * columns;
    products += (uint64)blockIdx.x * pairs;
    uint32 warps = blockDim.x / 32;
    for (uint32 pair = blockIdx.y * warps + threadIdx.x / 32; pair < pairs;
         pair += gridDim.y * warps) {
        const float* factors[2];
        uint32 index[2] = {pair / width, pair % width};
        for (int k = 0; k < 2; k++) {
            uint32 at = index[k];
            if (at >= supports && at < width)
                factors[k] = initial + (uint64)(at - supports) * columns;
            else
                factors[k] = bank + (uint64)rows[at < supports ? at : at - way] * columns;
        }
        double sum = 0;
        for (uint32 c = threadIdx.x % 32; c < columns; c += 32)
            sum += (double)factors[0][c] * (double)factors[1][c];
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) products[pair] = sum;
    }
}

// `Settings` of episodes.rs.
struct Descent {
    double scale, margin, keep, take, rate, decay, min_norm;
    uint32 passes, batch, is_cosine;
};

struct Episode {
    // `[supports + way + queries, supports + way]`
    const double* products;
    uint32 supports, way;
    // Coefficients, their velocity, and the weights' inner products with the support rows and with
    // their own initial values: `[way, supports + 1]`.
    double *weight, *velocity, *products_with_weight;
    // Inverse norms of the weights `[way]`; 1 unless scores are cosines.
    double* inverse;

    // Index of a class's coefficient `i` among the rows of `products`.
    __device__ uint32 index(uint32 i, uint32 c) const { return i < supports ? i : supports + c; }

    __device__ double product(uint32 row, uint32 c) const {
        const double* with = products + (uint64)row * (supports + way);
        double sum = 0;
        for (uint32 i = 0; i <= supports; i++)
            sum += weight[c * (supports + 1) + i] * with[index(i, c)];
        return sum;
    }

    __device__ void score(const Descent& descent) {
        for (uint32 t = threadIdx.x; t < way * (supports + 1); t += blockDim.x)
            products_with_weight[t] = product(index(t % (supports + 1), t / (supports + 1)), t / (supports + 1));
        __syncthreads();
        for (uint32 c = threadIdx.x; c < way; c += blockDim.x) {
            double square = 0;
            for (uint32 i = 0; i <= supports; i++)
                square += weight[c * (supports + 1) + i] * products_with_weight[c * (supports + 1) + i];
            double norm = sqrt(square > 0 ? square : 0);
            inverse[c] = descent.is_cosine ? 1 / (norm > descent.min_norm ? norm : descent.min_norm) : 1;
        }
        __syncthreads();
    }
};

// `order` `[episodes, orders, supports]` is the order of the support rows in each pass, `labels`
// `[supports]` are their classes. `scratch` has `way · (3 · (supports + 1) + 1 + batch) + supports`
// numbers per episode. `scores` `[episodes, queries, way]`.
extern "C" __global__ void adapt_episodes(double* products, const uint32* labels,
                                          const uint32* order, double* scratch, double* scores,
                                          uint32 supports, uint32 way, uint32 queries,
                                          uint32 orders, Descent descent) {
    uint32 width = supports + way, height = width + queries, row = supports + 1;
    products += (uint64)blockIdx.x * height * width;
    order += (uint64)blockIdx.x * orders * supports;
    scratch += (uint64)blockIdx.x * (way * (3 * row + 1 + descent.batch) + supports);
    scores += (uint64)blockIdx.x * queries * way;
    Episode e = {products, supports, way, scratch, scratch + way * row, scratch + 2 * way * row,
                 scratch + 3 * way * row};
    double *slopes = e.inverse + way, *norms = slopes + way * descent.batch;

    for (uint32 t = threadIdx.x; t < way * row; t += blockDim.x) {
        e.weight[t] = t % row == supports ? 1 : 0;
        e.velocity[t] = 0;
    }
    for (uint32 i = threadIdx.x; i < supports; i += blockDim.x) {
        double norm = sqrt(products[(uint64)i * width + i]);
        norms[i] = descent.is_cosine ? (norm > descent.min_norm ? norm : descent.min_norm) : 1;
    }
    __syncthreads();
    for (uint32 t = threadIdx.x; t < height * width; t += blockDim.x) {
        uint32 i = t / width, j = t % width;
        products[t] /= (i < supports ? norms[i] : 1) * (j < supports ? norms[j] : 1);
    }
    __syncthreads();

    bool is_first = true;
    for (uint32 pass = 0; pass < descent.passes; pass++, order += supports)
        for (uint32 start = 0; start < supports; start += descent.batch) {
            uint32 count = supports - start < descent.batch ? supports - start : descent.batch;
            e.score(descent);
            // Gradients of the mean loss with respect to the inner products.
            for (uint32 slot = threadIdx.x; slot < count; slot += blockDim.x) {
                uint32 image = order[start + slot], label = labels[image];
                double *slope = slopes + slot * way, max = 0, sum = 0;
                for (uint32 c = 0; c < way; c++) {
                    slope[c] = e.products_with_weight[c * row + image] * e.inverse[c] - (c == label ? descent.margin : 0);
                    if (c == 0 || slope[c] > max) max = slope[c];
                }
                for (uint32 c = 0; c < way; c++) sum += slope[c] = exp(descent.scale * (slope[c] - max));
                double share = descent.scale / count;
                for (uint32 c = 0; c < way; c++)
                    slope[c] = slope[c] * share / sum - (c == label ? share : 0);
            }
            __syncthreads();
            double keep = is_first ? 0 : descent.keep, take = is_first ? 1 : descent.take;
            is_first = false;
            for (uint32 t = threadIdx.x; t < way * row; t += blockDim.x) {
                uint32 c = t / row, i = t % row;
                double inverse = e.inverse[c], weight_factor = descent.decay, row_gradient = 0;
                bool is_normalized = descent.is_cosine && inverse < 1 / descent.min_norm;
                for (uint32 slot = 0; slot < count; slot++) {
                    uint32 image = order[start + slot];
                    double slope = slopes[slot * way + c] * inverse;
                    // The gradient of a cosine is orthogonal to the weight.
                    if (is_normalized) weight_factor -= slope * e.products_with_weight[c * row + image] * inverse * inverse;
                    if (image == i) row_gradient += slope;
                }
                e.velocity[t] = keep * e.velocity[t] + take * (weight_factor * e.weight[t] + row_gradient);
                e.weight[t] -= descent.rate * e.velocity[t];
            }
            __syncthreads();
        }
    e.score(descent);
    for (uint32 t = threadIdx.x; t < queries * way; t += blockDim.x)
        scores[t] = e.product(width + t / way, t % way) * e.inverse[t % way];
}

#endif
