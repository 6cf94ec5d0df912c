// Classifiers fitted to the support sets of many episodes, a block each. In double precision, as on
// the CPU.
//
// A weight never leaves what its first value and the support rows span, so that its coefficients are
// what is descended on: one a support row, and one for the first value. All that a step needs is
// inner products.
#if NUMBER_BITS == 64

// Products of the support rows, first weights and queries `[supports + way + queries]` with the
// support rows and first weights `[supports + way]` of each episode (blockIdx.x), a warp each.
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
        const float* both[2];
        uint32 place[2] = {pair / width, pair % width};
        for (int k = 0; k < 2; k++) {
            uint32 at = place[k];
            if (at >= supports && at < width)
                both[k] = initial + (uint64)(at - supports) * columns;
            else
                both[k] = bank + (uint64)rows[at < supports ? at : at - way] * columns;
        }
        double sum = 0;
        for (uint32 c = threadIdx.x % 32; c < columns; c += 32)
            sum += (double)both[0][c] * (double)both[1][c];
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) products[pair] = sum;
    }
}

// As in episodes.rs.
struct Descent {
    double scale, margin, keep, take, rate, decay, shortest;
    uint32 passes, batch, directions;
};

struct Episode {
    // `[supports + way + queries, supports + way]`
    const double* products;
    uint32 supports, way;
    // Coefficients and their momentum, and the weights' products with the support rows and their own
    // first values: `[way, supports + 1]`.
    double *weight, *velocity, *along;
    // The factor of each weight's length `[way]`.
    double* inverse;

    // The place of a class's coefficient `i` among the products.
    __device__ uint32 place(uint32 i, uint32 c) const { return i < supports ? i : supports + c; }

    __device__ double product(uint32 row, uint32 c) const {
        const double* with = products + (uint64)row * (supports + way);
        double sum = 0;
        for (uint32 i = 0; i <= supports; i++)
            sum += weight[c * (supports + 1) + i] * with[place(i, c)];
        return sum;
    }

    __device__ void score(const Descent& descent) {
        for (uint32 t = threadIdx.x; t < way * (supports + 1); t += blockDim.x)
            along[t] = product(place(t % (supports + 1), t / (supports + 1)), t / (supports + 1));
        __syncthreads();
        for (uint32 c = threadIdx.x; c < way; c += blockDim.x) {
            double square = 0;
            for (uint32 i = 0; i <= supports; i++)
                square += weight[c * (supports + 1) + i] * along[c * (supports + 1) + i];
            double length = sqrt(square > 0 ? square : 0);
            inverse[c] = descent.directions ? 1 / (length > descent.shortest ? length : descent.shortest) : 1;
        }
        __syncthreads();
    }
};

// `order` `[episodes, orders, supports]` says how each pass takes the support rows, `labels`
// `[supports]` what they show. `scratch` has `way · (3 · (supports + 1) + 1 + batch) + supports`
// numbers an episode. `scores` `[episodes, queries, way]`.
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
    double *slopes = e.inverse + way, *lengths = slopes + way * descent.batch;

    for (uint32 t = threadIdx.x; t < way * row; t += blockDim.x) {
        e.weight[t] = t % row == supports ? 1 : 0;
        e.velocity[t] = 0;
    }
    for (uint32 i = threadIdx.x; i < supports; i += blockDim.x) {
        double length = sqrt(products[(uint64)i * width + i]);
        lengths[i] = descent.directions ? (length > descent.shortest ? length : descent.shortest) : 1;
    }
    __syncthreads();
    for (uint32 t = threadIdx.x; t < height * width; t += blockDim.x) {
        uint32 i = t / width, j = t % width;
        products[t] /= (i < supports ? lengths[i] : 1) * (j < supports ? lengths[j] : 1);
    }
    __syncthreads();

    bool is_first = true;
    for (uint32 pass = 0; pass < descent.passes; pass++, order += supports)
        for (uint32 start = 0; start < supports; start += descent.batch) {
            uint32 count = supports - start < descent.batch ? supports - start : descent.batch;
            e.score(descent);
            // What the loss's mean changes by with each product.
            for (uint32 slot = threadIdx.x; slot < count; slot += blockDim.x) {
                uint32 of = order[start + slot], label = labels[of];
                double *slope = slopes + slot * way, most = 0, sum = 0;
                for (uint32 c = 0; c < way; c++) {
                    slope[c] = e.along[c * row + of] * e.inverse[c] - (c == label ? descent.margin : 0);
                    if (c == 0 || slope[c] > most) most = slope[c];
                }
                for (uint32 c = 0; c < way; c++) sum += slope[c] = exp(descent.scale * (slope[c] - most));
                double share = descent.scale / count;
                for (uint32 c = 0; c < way; c++)
                    slope[c] = slope[c] * share / sum - (c == label ? share : 0);
            }
            __syncthreads();
            double keep = is_first ? 0 : descent.keep, take = is_first ? 1 : descent.take;
            is_first = false;
            for (uint32 t = threadIdx.x; t < way * row; t += blockDim.x) {
                uint32 c = t / row, i = t % row;
                double inverse = e.inverse[c], along_weight = descent.decay, along_row = 0;
                bool turns = descent.directions && inverse < 1 / descent.shortest;
                for (uint32 slot = 0; slot < count; slot++) {
                    uint32 of = order[start + slot];
                    double slope = slopes[slot * way + c] * inverse;
                    // A direction does not change with its weight's length.
                    if (turns) along_weight -= slope * e.along[c * row + of] * inverse * inverse;
                    if (of == i) along_row += slope;
                }
                e.velocity[t] = keep * e.velocity[t] + take * (along_weight * e.weight[t] + along_row);
                e.weight[t] -= descent.rate * e.velocity[t];
            }
            __syncthreads();
        }
    e.score(descent);
    for (uint32 t = threadIdx.x; t < queries * way; t += blockDim.x)
        scores[t] = e.product(width + t / way, t % way) * e.inverse[t % way];
}

#endif
