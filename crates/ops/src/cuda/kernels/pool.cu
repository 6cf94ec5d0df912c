// Pooling of channels-last images.

struct Pool {
    uint32 in_height, in_width, out_height, out_width, window, stride, padding, channels;
};

// A thread computes N channels of one output. `argmax` is the maximum's position in its window, the
// first of equal ones.
template <int N>
__device__ __forceinline__ void max_pool(const Number* x, Number* y, unsigned char* argmax,
                                         uint64 threads, Pool g) {
    for (uint64 t = thread_number(); t < threads; t += thread_count()) {
        uint32 packs = g.channels / N;
        uint32 channel = (uint32)(t % packs) * N;
        uint64 pixel = t / packs;
        uint32 ox = (uint32)(pixel % g.out_width);
        uint32 oy = (uint32)(pixel / g.out_width % g.out_height);
        uint64 image = pixel / g.out_width / g.out_height;
        Real best[N];
        unsigned char at[N] = {};
        bool is_first = true;
        for (uint32 ky = 0; ky < g.window; ky++) {
            uint32 iy = oy * g.stride + ky - g.padding;
            if (iy >= g.in_height) continue;
            for (uint32 kx = 0; kx < g.window; kx++) {
                uint32 ix = ox * g.stride + kx - g.padding;
                if (ix >= g.in_width) continue;
                Real v[N];
                read<N>(x + ((image * g.in_height + iy) * g.in_width + ix) * g.channels + channel,
                        v);
                for (int i = 0; i < N; i++)
                    if (is_first || v[i] > best[i] || v[i] != v[i]) {
                        best[i] = v[i];
                        at[i] = (unsigned char)(ky * g.window + kx);
                    }
                is_first = false;
            }
        }
        write<N>(best, y + pixel * g.channels + channel);
        for (int i = 0; i < N; i++) argmax[pixel * g.channels + channel + i] = at[i];
    }
}

extern "C" __global__ void max_pool_single(const Number* x, Number* y, unsigned char* argmax,
                                           uint64 threads, Pool g) {
    max_pool<1>(x, y, argmax, threads, g);
}
extern "C" __global__ void max_pool_wide(const Number* x, Number* y, unsigned char* argmax,
                                         uint64 threads, Pool g) {
    max_pool<WIDE>(x, y, argmax, threads, g);
}

// A thread computes N channels of one input, from the windows that contain it.
template <int N>
__device__ __forceinline__ void max_pool_gradient(const Number* dy, const unsigned char* argmax,
                                                  Number* dx, uint64 threads, Pool g) {
    for (uint64 t = thread_number(); t < threads; t += thread_count()) {
        uint32 packs = g.channels / N;
        uint32 channel = (uint32)(t % packs) * N;
        uint64 pixel = t / packs;
        uint32 ix = (uint32)(pixel % g.in_width) + g.padding;
        uint32 iy = (uint32)(pixel / g.in_width % g.in_height) + g.padding;
        uint64 image = pixel / g.in_width / g.in_height;
        Real sum[N] = {};
        uint32 first_y = iy < g.window ? 0 : (iy - g.window) / g.stride + 1;
        uint32 first_x = ix < g.window ? 0 : (ix - g.window) / g.stride + 1;
        for (uint32 oy = first_y; oy * g.stride <= iy && oy < g.out_height; oy++)
            for (uint32 ox = first_x; ox * g.stride <= ix && ox < g.out_width; ox++) {
                uint32 mine = (iy - oy * g.stride) * g.window + ix - ox * g.stride;
                uint64 from =
                    ((image * g.out_height + oy) * g.out_width + ox) * g.channels + channel;
                Real v[N];
                read<N>(dy + from, v);
                for (int i = 0; i < N; i++)
                    if (argmax[from + i] == mine) sum[i] += v[i];
            }
        write<N>(sum, dx + pixel * g.channels + channel);
    }
}

extern "C" __global__ void max_pool_gradient_single(const Number* dy, const unsigned char* argmax,
                                                    Number* dx, uint64 threads, Pool g) {
    max_pool_gradient<1>(dy, argmax, dx, threads, g);
}
extern "C" __global__ void max_pool_gradient_wide(const Number* dy, const unsigned char* argmax,
                                                  Number* dx, uint64 threads, Pool g) {
    max_pool_gradient<WIDE>(dy, argmax, dx, threads, g);
}

// The mean over pixels of images [images, pixels, channels]; features are of type Real.
extern "C" __global__ void mean_pool(const Number* x, Real* y, uint64 count, uint32 pixels,
                                     uint32 channels) {
    for (uint64 i = thread_number(); i < count; i += thread_count()) {
        const Number* from = x + i / channels * pixels * channels + i % channels;
        Real sum = 0;
        for (uint32 pixel = 0; pixel < pixels; pixel++) sum += real(from[(uint64)pixel * channels]);
        y[i] = sum / pixels;
    }
}

extern "C" __global__ void mean_pool_gradient(const Real* dy, Number* dx, uint64 count,
                                              uint32 pixels, uint32 channels) {
    for (uint64 i = thread_number(); i < count; i += thread_count()) {
        uint64 image = i / channels / pixels;
        dx[i] = number(dy[image * channels + i % channels] / pixels);
    }
}
