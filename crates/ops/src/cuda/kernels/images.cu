// Training images out of decoded ones, as Pillow and torchvision vary them: crop and resize, colour
// jitter, mirror, normalize. A block takes an image.

// As in images.rs.
struct Picture {
    // Of the first pixel of the crop; samples are bytes, `[rows, stride, 3]`.
    uint32 address[2];
    uint32 stride, height, width, mirrored;
    // 0 nothing, 1 brightness, 2 contrast, 3 saturation.
    uint32 adjustments[3];
    float factors[3];
};

// Which source pixels a bilinear filter, widened where it shrinks, makes a pixel of.
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

__device__ __forceinline__ float rounded(float sample) {
    return floorf(sample < 0 ? 0.5f : sample > 255 ? 255.5f : sample + 0.5f);
}

__device__ __forceinline__ uint32 luma(const unsigned char* pixel) {
    return (19595u * pixel[0] + 38470u * pixel[1] + 7471u * pixel[2] + 0x8000u) >> 16;
}

// Without a fused product and sum, as on the CPU.
__device__ __forceinline__ unsigned char blend(uint32 from, uint32 to, float factor) {
    float blended = __fadd_rn((float)from, __fmul_rn(factor, (float)to - (float)from));
    return (unsigned char)(blended > 0 ? blended < 255 ? blended : 255 : 0);
}

// `levels` `[3, 256]` holds the normalized value of each level of each channel; `scratch` has
// `3 · size²` bytes an image; `y` `[images, 3, size, size]`. 256 threads a block.
extern "C" __global__ void vary_images(const Picture* pictures, const float* levels,
                                       unsigned char* scratch, Number* y, uint32 size) {
    __shared__ uint64 sums[8];
    Picture picture = pictures[blockIdx.x];
    const unsigned char* source =
        (const unsigned char*)((uint64)picture.address[1] << 32 | picture.address[0]);
    uint32 count = size * size;
    scratch += (uint64)blockIdx.x * 3 * count;
    y += (uint64)blockIdx.x * 3 * count;

    for (uint32 t = threadIdx.x; t < count; t += 256) {
        Taps across(t % size, picture.width, size), down(t / size, picture.height, size);
        float sample[3] = {0, 0, 0};
        for (int row = down.first; row < down.end; row++) {
            // Each pass rounds: rows first.
            float narrow[3] = {0, 0, 0}, weight = down.weight(row);
            const unsigned char* pixel =
                source + 3 * ((uint64)row * picture.stride + across.first);
            for (int column = across.first; column < across.end; column++, pixel += 3)
                for (int c = 0; c < 3; c++)
                    narrow[c] += across.weight(column) * (float)pixel[c];
            for (int c = 0; c < 3; c++) sample[c] += weight * rounded(narrow[c]);
        }
        for (int c = 0; c < 3; c++) scratch[3 * t + c] = (unsigned char)rounded(sample[c]);
    }
    // From here on a thread keeps to its pixels.
    for (int k = 0; k < 3; k++) {
        uint32 adjustment = picture.adjustments[k], level = 0;
        float factor = picture.factors[k];
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
        uint32 column = t % size, to = picture.mirrored ? t - column + (size - 1 - column) : t;
        for (uint32 c = 0; c < 3; c++)
            y[c * count + to] = number((Real)levels[c * 256 + scratch[3 * t + c]]);
    }
}
