// Augmentation of decoded training images as in Pillow and torchvision: crop and resize, color
// jitter, mirror, normalize. One block per image.

// The words of `image_params` in images.rs.
struct ImageParams {
    // Address of the crop's first pixel, low word first; samples are bytes, `[rows, stride, 3]`.
    uint32 address[2];
    uint32 stride, height, width, is_mirrored;
    // 0 nothing, 1 brightness, 2 contrast, 3 saturation.
    uint32 adjustments[3];
    float factors[3];
};

// The source pixels, with weights, of one output pixel of a bilinear filter, which is widened where
// the image shrinks.
struct Taps {
    float center, inverse_scale, inverse_sum;
    int first, end;

    __device__ __forceinline__ Taps(uint32 at, uint32 from, uint32 to) {
        float scale = (float)from / (float)to, support = scale > 1 ? scale : 1;
        center = ((float)at + 0.5f) * scale;
        inverse_scale = 1 / support;
        first = (int)(center - support + 0.5f);
        if (first < 0) first = 0;
        end = (int)(center + support + 0.5f);
        if (end > (int)from) end = (int)from;
        inverse_sum = 1;
        float sum = 0;
        for (int i = first; i < end; i++) sum += weight(i);
        inverse_sum = 1 / sum;
    }

    __device__ __forceinline__ float weight(int i) const {
        float x = ((float)i - center + 0.5f) * inverse_scale;
        x = x < 0 ? -x : x;
        return x < 1 ? (1 - x) * inverse_sum : 0;
    }
};

__device__ __forceinline__ float round_to_level(float sample) {
    return floorf(sample < 0 ? 0.5f : sample > 255 ? 255.5f : sample + 0.5f);
}

__device__ __forceinline__ uint32 luma(const unsigned char* pixel) {
    return (19595u * pixel[0] + 38470u * pixel[1] + 7471u * pixel[2] + 0x8000u) >> 16;
}

// Without fused multiply-add, as on the CPU.
__device__ __forceinline__ unsigned char blend(uint32 from, uint32 to, float factor) {
    float blended = __fadd_rn((float)from, __fmul_rn(factor, (float)to - (float)from));
    return (unsigned char)(blended > 0 ? blended < 255 ? blended : 255 : 0);
}

// `levels` `[3, 256]` holds the normalized value of each level of each channel; `scratch` has
// `3 · size²` bytes per image; `y` `[images, 3, size, size]`. 256 threads per block.
extern "C" __global__ void augment_images(const ImageParams* params, const float* levels,
                                       unsigned char* scratch, Number* y, uint32 size) {
    __shared__ uint64 sums[8];
    ImageParams image = params[blockIdx.x];
    const unsigned char* source =
        (const unsigned char*)((uint64)image.address[1] << 32 | image.address[0]);
    uint32 count = size * size;
    scratch += (uint64)blockIdx.x * 3 * count;
    y += (uint64)blockIdx.x * 3 * count;

    for (uint32 t = threadIdx.x; t < count; t += 256) {
        Taps horizontal(t % size, image.width, size), vertical(t / size, image.height, size);
        float sample[3] = {0, 0, 0};
        for (int row = vertical.first; row < vertical.end; row++) {
            // Each of the two passes rounds; rows are first.
            float row_sample[3] = {0, 0, 0}, weight = vertical.weight(row);
            const unsigned char* pixel =
                source + 3 * ((uint64)row * image.stride + horizontal.first);
            for (int column = horizontal.first; column < horizontal.end; column++, pixel += 3)
                for (int c = 0; c < 3; c++)
                    row_sample[c] += horizontal.weight(column) * (float)pixel[c];
            for (int c = 0; c < 3; c++) sample[c] += weight * round_to_level(row_sample[c]);
        }
        for (int c = 0; c < 3; c++) scratch[3 * t + c] = (unsigned char)round_to_level(sample[c]);
    }
    // From here on, each thread reads and writes only its own pixels.
    for (int k = 0; k < 3; k++) {
        uint32 adjustment = image.adjustments[k], level = 0;
        float factor = image.factors[k];
        if (adjustment == 2) {
            uint64 sum = 0;
            for (uint32 t = threadIdx.x; t < count; t += 256) sum += luma(scratch + 3 * t);
            sum = warp_sum(sum);
            __syncthreads();
            if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
            __syncthreads();
            sum = 0;
            for (int i = 0; i < 8; i++) sum += sums[i];
            level = (uint32)((double)sum / count + 0.5);
        }
        if (adjustment == 1 || adjustment == 2)
            for (uint32 t = threadIdx.x; t < count; t += 256)
                for (int c = 0; c < 3; c++)
                    scratch[3 * t + c] = blend(level, scratch[3 * t + c], factor);
        if (adjustment == 3)
            for (uint32 t = threadIdx.x; t < count; t += 256) {
                level = luma(scratch + 3 * t);
                for (int c = 0; c < 3; c++)
                    scratch[3 * t + c] = blend(level, scratch[3 * t + c], factor);
            }
    }
    for (uint32 t = threadIdx.x; t < count; t += 256) {
        uint32 column = t % size, to = image.is_mirrored ? t - column + (size - 1 - column) : t;
        for (uint32 c = 0; c < 3; c++)
            y[c * count + to] = number((Real)levels[c * 256 + scratch[3 * t + c]]);
    }
}
