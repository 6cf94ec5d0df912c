// Classifier heads and their loss. A block, or a warp, processes a row.

// The sum over a block of 128 threads, returned to all of them.
__device__ __forceinline__ Real block_sum(Real x) {
    __shared__ Real sums[4];
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
    __syncthreads();
    return sums[0] + sums[1] + sums[2] + sums[3];
}

extern "C" __global__ void unit_rows(const Real* x, Real* y, uint32 columns, Real min_norm) {
    x += (uint64)blockIdx.x * columns;
    y += (uint64)blockIdx.x * columns;
    Real square = 0;
    for (uint32 c = threadIdx.x; c < columns; c += 128) square += x[c] * x[c];
    Real norm = sqrt(block_sum(square));
    Real inverse = 1 / (norm > min_norm ? norm : min_norm);
    for (uint32 c = threadIdx.x; c < columns; c += 128) y[c] = x[c] * inverse;
}

extern "C" __global__ void unit_rows_gradient(const Real* x, const Real* y, const Real* dy,
                                              Real* dx, uint32 columns, Real min_norm) {
    uint64 row = (uint64)blockIdx.x * columns;
    Real square = 0, dot = 0;
    for (uint32 c = threadIdx.x; c < columns; c += 128) {
        square += x[row + c] * x[row + c];
        dot += dy[row + c] * y[row + c];
    }
    Real norm = sqrt(block_sum(square));
    dot = block_sum(dot);
    // The gradient of a normalized row is orthogonal to it.
    if (!(norm > min_norm)) dot = 0;
    Real inverse = 1 / (norm > min_norm ? norm : min_norm);
    for (uint32 c = threadIdx.x; c < columns; c += 128)
        dx[row + c] = (dy[row + c] - y[row + c] * dot) * inverse;
}

// The index of a row's smallest score, the first of equal ones, returned to all threads of a warp.
__device__ __forceinline__ uint32 index_of_min(const Real* row, uint32 classes) {
    uint32 lane = threadIdx.x % 32, at = lane < classes ? lane : 0;
    for (uint32 c = at; c < classes; c += 32)
        if (row[c] < row[at]) at = c;
    for (int distance = 16; distance > 0; distance /= 2) {
        uint32 other = __shfl_xor_sync(0xffffffffu, at, distance);
        if (row[other] < row[at] || (row[other] == row[at] && other < at)) at = other;
    }
    return at;
}

// scale · (z - min - margin at the label), where min is 0 unless `subtract_min` is set.
extern "C" __global__ void margin_scores(const Real* z, const uint32* labels, Real* y, uint32 rows,
                                         uint32 classes, Real scale, Real margin, int subtract_min) {
    uint32 row = (uint32)(thread_number() / 32);
    if (row >= rows) return;
    z += (uint64)row * classes;
    y += (uint64)row * classes;
    Real min = subtract_min ? z[index_of_min(z, classes)] : 0;
    for (uint32 c = threadIdx.x % 32; c < classes; c += 32)
        y[c] = scale * (z[c] - min - (labels && labels[row] == c ? margin : 0));
}

extern "C" __global__ void margin_scores_gradient(const Real* z, const Real* dy, Real* dz,
                                                  uint32 rows, uint32 classes, Real scale,
                                                  int subtract_min) {
    uint32 row = (uint32)(thread_number() / 32);
    if (row >= rows) return;
    uint64 start = (uint64)row * classes;
    uint32 min = subtract_min ? index_of_min(z + start, classes) : classes;
    Real sum = 0;
    for (uint32 c = threadIdx.x % 32; c < classes; c += 32) sum += dy[start + c];
    sum = warp_sum(sum);
    for (uint32 c = threadIdx.x % 32; c < classes; c += 32)
        dz[start + c] = scale * (dy[start + c] - (c == min ? sum : 0));
}

// The largest score of a row, and the sum of exp(score - largest), returned to all threads of a
// warp.
__device__ __forceinline__ void max_and_exp_sum(const Real* row, uint32 classes, Real* max,
                                             Real* sum) {
    uint32 lane = threadIdx.x % 32;
    Real m = row[0];
    for (uint32 c = lane; c < classes; c += 32) m = row[c] > m ? row[c] : m;
    for (int distance = 16; distance > 0; distance /= 2) {
        Real other = __shfl_xor_sync(0xffffffffu, m, distance);
        m = other > m ? other : m;
    }
    Real s = 0;
    for (uint32 c = lane; c < classes; c += 32) s += exp(row[c] - m);
    *max = m;
    *sum = warp_sum(s);
}

// The mean loss of all rows, by one block of 32 warps. NaN if a label is not a class.
extern "C" __global__ void cross_entropy(const Real* scores, const uint32* labels, Real* loss,
                                         uint32 rows, uint32 classes) {
    __shared__ double sums[32];
    uint32 warp = threadIdx.x / 32;
    double total = 0;
    for (uint32 row = warp; row < rows; row += 32) {
        const Real* of_row = scores + (uint64)row * classes;
        Real max, sum;
        max_and_exp_sum(of_row, classes, &max, &sum);
        uint32 label = labels[row];
        total += label < classes ? (double)(log(sum) + max - of_row[label]) : not_a_number();
    }
    if (threadIdx.x % 32 == 0) sums[warp] = total;
    __syncthreads();
    if (threadIdx.x > 0) return;
    total = 0;
    for (int i = 0; i < 32; i++) total += sums[i];
    *loss = (Real)(total / rows);
}

extern "C" __global__ void cross_entropy_gradient(const Real* scores, const uint32* labels,
                                                  const Real* dloss, Real* dscores, uint32 rows,
                                                  uint32 classes) {
    uint32 row = (uint32)(thread_number() / 32);
    if (row >= rows) return;
    uint64 start = (uint64)row * classes;
    Real max, sum, share = *dloss / rows;
    max_and_exp_sum(scores + start, classes, &max, &sum);
    for (uint32 c = threadIdx.x % 32; c < classes; c += 32) {
        Real target = labels[row] == c ? 1 : 0;
        dscores[start + c] = share * (exp(scores[start + c] - max) / sum - target);
    }
}

// The number of rows whose largest score, the first of equal ones, is at the label, by one block of
// 32 warps.
extern "C" __global__ void count_correct(const Real* scores, const uint32* labels, uint32* correct,
                                      uint32 rows, uint32 classes) {
    __shared__ uint32 counts[32];
    uint32 warp = threadIdx.x / 32, count = 0;
    for (uint32 row = warp; row < rows; row += 32) {
        const Real* of_row = scores + (uint64)row * classes;
        uint32 lane = threadIdx.x % 32, at = lane < classes ? lane : 0;
        for (uint32 c = at; c < classes; c += 32)
            if (of_row[c] > of_row[at]) at = c;
        for (int distance = 16; distance > 0; distance /= 2) {
            uint32 other = __shfl_xor_sync(0xffffffffu, at, distance);
            if (of_row[other] > of_row[at] || (of_row[other] == of_row[at] && other < at))
                at = other;
        }
        count += at == labels[row];
    }
    if (threadIdx.x % 32 == 0) counts[warp] = count;
    __syncthreads();
    if (threadIdx.x > 0) return;
    count = 0;
    for (int i = 0; i < 32; i++) count += counts[i];
    *correct = count;
}
