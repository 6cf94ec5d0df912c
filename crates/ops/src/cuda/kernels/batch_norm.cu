// Batch normalization of channels-last images, seen as rows [rows, channels].
//
// Each thread processes the same N channels of several rows: x of blocks and threads counts
// channels, y counts rows. The order of sums depends on sizes alone.

// A thread's first channel, and its rows: from `row` to `end` in steps of blockDim.y.

struct ThreadRows {
    uint32 channel;
    uint64 row, end;
    bool is_inside;
};

template <int N>
__device__ __forceinline__ ThreadRows thread_rows(uint64 rows, uint32 channels) {
    ThreadRows p;
    p.channel = (blockIdx.x * blockDim.x + threadIdx.x) * N;
    uint64 chunk = (rows + gridDim.y - 1) / gridDim.y;
    p.row = chunk * blockIdx.y + threadIdx.y;
    p.end = chunk * (blockIdx.y + 1) < rows ? chunk * (blockIdx.y + 1) : rows;
    p.is_inside = p.channel < channels;
    return p;
}

// Adds up two sums over the threads of a block that have the same channels, and writes them to
// partial [chunks, 2, channels].
template <int N>
__device__ __forceinline__ void write_partial(const ThreadRows& p, const Real* first,
                                              const Real* second, Real* partial,
                                              uint32 channels) {
    __shared__ Real sums[2][256];
    for (int i = 0; i < N; i++) {
        uint32 mine = threadIdx.y * blockDim.x + threadIdx.x;
        sums[0][mine] = first[i];
        sums[1][mine] = second[i];
        for (uint32 height = blockDim.y / 2; height > 0; height /= 2) {
            __syncthreads();
            if (threadIdx.y < height) {
                sums[0][mine] += sums[0][mine + height * blockDim.x];
                sums[1][mine] += sums[1][mine + height * blockDim.x];
            }
        }
        if (threadIdx.y == 0 && p.is_inside) {
            Real* to = partial + (uint64)blockIdx.y * 2 * channels + p.channel + i;
            to[0] = sums[0][mine];
            to[channels] = sums[1][mine];
        }
        __syncthreads();
    }
}

// Sums of x and of its square, both relative to the first row, which reduces rounding errors.
template <int N>
__device__ __forceinline__ void moments(const Number* x, Real* partial, uint64 rows,
                                        uint32 channels) {
    ThreadRows p = thread_rows<N>(rows, channels);
    Real reference[N], first[N] = {}, second[N] = {};
    if (p.is_inside) {
        read<N>(x + p.channel, reference);
        for (uint64 row = p.row; row < p.end; row += blockDim.y) {
            Real v[N];
            read<N>(x + row * channels + p.channel, v);
            for (int i = 0; i < N; i++) {
                Real d = v[i] - reference[i];
                first[i] += d;
                second[i] += d * d;
            }
        }
    }
    write_partial<N>(p, first, second, partial, channels);
}

extern "C" __global__ void moments_single(const Number* x, Real* partial, uint64 rows,
                                          uint32 channels) {
    moments<1>(x, partial, rows, channels);
}
extern "C" __global__ void moments_wide(const Number* x, Real* partial, uint64 rows,
                                        uint32 channels) {
    moments<WIDE>(x, partial, rows, channels);
}

// Sums over all chunks for one channel, in double precision. Blocks of 32 channels by 8 chunks.
__device__ __forceinline__ void sum_chunks(const Real* partial, uint32 chunks, uint32 channels,
                                           uint32 channel, double* first, double* second) {
    __shared__ double sums[2][8][33];
    double a = 0, b = 0;
    if (channel < channels)
        for (uint32 chunk = threadIdx.y; chunk < chunks; chunk += 8) {
            const Real* from = partial + (uint64)chunk * 2 * channels + channel;
            a += from[0];
            b += from[channels];
        }
    sums[0][threadIdx.y][threadIdx.x] = a;
    sums[1][threadIdx.y][threadIdx.x] = b;
    __syncthreads();
    *first = *second = 0;
    for (int i = 0; i < 8; i++) {
        *first += sums[0][i][threadIdx.x];
        *second += sums[1][i][threadIdx.x];
    }
}

// Computes statistics [3, channels]: mean, biased variance, 1 / sqrt(variance + eps).
extern "C" __global__ void moments_total(const Number* x, const Real* partial, Real* statistics,
                                         uint64 rows, uint32 chunks, uint32 channels, double eps) {
    uint32 channel = blockIdx.x * 32 + threadIdx.x;
    double first, second;
    sum_chunks(partial, chunks, channels, channel, &first, &second);
    if (channel >= channels || threadIdx.y > 0) return;
    double shift = first / rows;
    double variance = second / rows - shift * shift;
    if (variance < 0) variance = 0;
    statistics[channel] = (Real)(real(x[channel]) + shift);
    statistics[channels + channel] = (Real)variance;
    statistics[2 * channels + channel] = (Real)(1 / sqrt(variance + eps));
}

// The mean squared distance of this batch from the mean of several batches. Its average over
// these batches is the variance of them all.
extern "C" __global__ void variance_about(const Real* statistics, const Real* mean, Real* variance,
                                          uint32 channels) {
    uint32 channel = (uint32)thread_number();
    if (channel >= channels) return;
    Real distance = statistics[channel] - mean[channel];
    variance[channel] = statistics[channels + channel] + distance * distance;
}

// Computes statistics [3, channels] from running averages.
extern "C" __global__ void running_statistics(const Real* mean, const Real* variance,
                                              Real* statistics, uint32 channels, double eps) {
    uint32 channel = (uint32)thread_number();
    if (channel >= channels) return;
    statistics[channel] = mean[channel];
    statistics[channels + channel] = variance[channel];
    statistics[2 * channels + channel] = (Real)(1 / sqrt((double)variance[channel] + eps));
}

// Updates running averages with a batch's statistics; `correction` makes its variance unbiased.
extern "C" __global__ void update_running(const Real* statistics, Real* mean, Real* variance,
                                          uint32 channels, Real momentum, Real correction) {
    uint32 channel = (uint32)thread_number();
    if (channel >= channels) return;
    Real newest = statistics[channels + channel] * correction;
    mean[channel] = mean[channel] * (1 - momentum) + statistics[channel] * momentum;
    variance[channel] = variance[channel] * (1 - momentum) + newest * momentum;
}

// The factor and summand of a channel: y = scale · x + shift.
__device__ __forceinline__ void affine(const Real* statistics, const Real* weight,
                                       const Real* bias, uint32 channels, uint32 channel,
                                       Real* scale, Real* shift) {
    *scale = weight[channel] * statistics[2 * channels + channel];
    *shift = bias[channel] - *scale * statistics[channel];
}

template <int N>
__device__ __forceinline__ void normalize(const Number* x, const Number* residual, Number* y,
                                          const Real* statistics, const Real* weight,
                                          const Real* bias, uint64 rows, uint32 channels,
                                          Real slope) {
    ThreadRows p = thread_rows<N>(rows, channels);
    if (!p.is_inside) return;
    Real scale[N], shift[N];
    for (int i = 0; i < N; i++)
        affine(statistics, weight, bias, channels, p.channel + i, &scale[i], &shift[i]);
    for (uint64 row = p.row; row < p.end; row += blockDim.y) {
        uint64 at = row * channels + p.channel;
        Real v[N], r[N];
        read<N>(x + at, v);
        if (residual) read<N>(residual + at, r);
        for (int i = 0; i < N; i++) {
            v[i] = v[i] * scale[i] + shift[i];
            if (residual) v[i] += r[i];
            if (!(v[i] > 0)) v[i] *= slope;
        }
        write<N>(v, y + at);
    }
}

#define NORMALIZE(NAME, N)                                                                        \
    NAME(const Number* x, const Number* residual, Number* y, const Real* statistics,             \
         const Real* weight, const Real* bias, uint64 rows, uint32 channels, Real slope) {       \
        normalize<N>(x, residual, y, statistics, weight, bias, rows, channels, slope);           \
    }
extern "C" __global__ void NORMALIZE(normalized_single, 1)
extern "C" __global__ void NORMALIZE(normalized_wide, WIDE)

// Sums of the gradient before the activation: by itself (`sum`), and times the normalized input
// (`dot`). With a residual, the activation's sign is that of the output y, and the gradient is
// also written to `dr`.
template <int N>
__device__ __forceinline__ void norm_sums(const Number* x, const Number* y, const Number* dy,
                                          Number* dr, const Real* statistics, const Real* weight,
                                          const Real* bias, Real* partial, uint64 rows,
                                          uint32 channels, Real slope) {
    ThreadRows p = thread_rows<N>(rows, channels);
    Real sum[N] = {}, dot[N] = {};
    if (p.is_inside) {
        Real scale[N], shift[N], mean[N], inverse[N];
        for (int i = 0; i < N; i++) {
            affine(statistics, weight, bias, channels, p.channel + i, &scale[i], &shift[i]);
            mean[i] = statistics[p.channel + i];
            inverse[i] = statistics[2 * channels + p.channel + i];
        }
        for (uint64 row = p.row; row < p.end; row += blockDim.y) {
            uint64 at = row * channels + p.channel;
            Real v[N], d[N], sign[N];
            read<N>(x + at, v);
            read<N>(dy + at, d);
            if (y) read<N>(y + at, sign);
            for (int i = 0; i < N; i++) {
                if (!y) sign[i] = v[i] * scale[i] + shift[i];
                if (!(sign[i] > 0)) d[i] *= slope;
                sum[i] += d[i];
                dot[i] += d[i] * (v[i] - mean[i]) * inverse[i];
            }
            if (dr) write<N>(d, dr + at);
        }
    }
    write_partial<N>(p, sum, dot, partial, channels);
}

#define NORM_SUMS(NAME, N)                                                                        \
    NAME(const Number* x, const Number* y, const Number* dy, Number* dr, const Real* statistics,  \
         const Real* weight, const Real* bias, Real* partial, uint64 rows, uint32 channels,       \
         Real slope) {                                                                            \
        norm_sums<N>(x, y, dy, dr, statistics, weight, bias, partial, rows, channels, slope);     \
    }
extern "C" __global__ void NORM_SUMS(norm_sums_single, 1)
extern "C" __global__ void NORM_SUMS(norm_sums_wide, WIDE)

// The gradients of bias and weight, which are these sums over all rows.
extern "C" __global__ void norm_sums_total(const Real* partial, Real* dweight, Real* dbias,
                                           uint32 chunks, uint32 channels) {
    uint32 channel = blockIdx.x * 32 + threadIdx.x;
    double sum, dot;
    sum_chunks(partial, chunks, channels, channel, &sum, &dot);
    if (channel >= channels || threadIdx.y > 0) return;
    dbias[channel] = (Real)sum;
    dweight[channel] = (Real)dot;
}

// The gradient of the input; `share` is 1 / rows if the statistics are the batch's, else 0.
template <int N>
__device__ __forceinline__ void norm_gradient(const Number* x, const Number* dy, Number* dx,
                                              const Real* statistics, const Real* weight,
                                              const Real* bias, const Real* dweight,
                                              const Real* dbias, uint64 rows, uint32 channels,
                                              Real slope, Real share) {
    ThreadRows p = thread_rows<N>(rows, channels);
    if (!p.is_inside) return;
    Real scale[N], shift[N], constant[N], linear[N];
    for (int i = 0; i < N; i++) {
        uint32 channel = p.channel + i;
        affine(statistics, weight, bias, channels, channel, &scale[i], &shift[i]);
        Real inverse = statistics[2 * channels + channel];
        linear[i] = dweight[channel] * share * inverse;
        constant[i] = dbias[channel] * share - linear[i] * statistics[channel];
    }
    for (uint64 row = p.row; row < p.end; row += blockDim.y) {
        uint64 at = row * channels + p.channel;
        Real v[N], d[N];
        read<N>(x + at, v);
        read<N>(dy + at, d);
        for (int i = 0; i < N; i++) {
            if (!(v[i] * scale[i] + shift[i] > 0)) d[i] *= slope;
            d[i] = scale[i] * (d[i] - constant[i] - v[i] * linear[i]);
        }
        write<N>(d, dx + at);
    }
}

#define NORM_GRADIENT(NAME, N)                                                                    \
    NAME(const Number* x, const Number* dy, Number* dx, const Real* statistics,                   \
         const Real* weight, const Real* bias, const Real* dweight, const Real* dbias,            \
         uint64 rows, uint32 channels, Real slope, Real share) {                                  \
        norm_gradient<N>(x, dy, dx, statistics, weight, bias, dweight, dbias, rows, channels,     \
                         slope, share);                                                           \
    }
extern "C" __global__ void NORM_GRADIENT(norm_gradient_single, 1)
extern "C" __global__ void NORM_GRADIENT(norm_gradient_wide, WIDE)

// The sums of each channel: the gradient of a convolution's bias.
extern "C" __global__ void channel_sums(const Number* x, Real* partial, uint64 rows,
                                        uint32 channels) {
    ThreadRows p = thread_rows<1>(rows, channels);
    Real first[1] = {}, second[1] = {};
    if (p.is_inside)
        for (uint64 row = p.row; row < p.end; row += blockDim.y)
            first[0] += real(x[row * channels + p.channel]);
    write_partial<1>(p, first, second, partial, channels);
}
extern "C" __global__ void channel_sums_total(const Real* partial, Real* sums, uint32 chunks,
                                              uint32 channels) {
    uint32 channel = blockIdx.x * 32 + threadIdx.x;
    double first, second;
    sum_chunks(partial, chunks, channels, channel, &first, &second);
    if (channel < channels && threadIdx.y == 0) sums[channel] = (Real)first;
}
