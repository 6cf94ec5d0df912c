// Masks of dropout and DropBlock, from the same random numbers as on the CPU.

__device__ __forceinline__ uint32 rotate_left(uint32 x, int by) { return x << by | x >> (32 - by); }

__device__ __forceinline__ void quarter_round(uint32* s, int a, int b, int c, int d) {
    s[a] += s[b]; s[d] = rotate_left(s[d] ^ s[a], 16);
    s[c] += s[d]; s[b] = rotate_left(s[b] ^ s[c], 12);
    s[a] += s[b]; s[d] = rotate_left(s[d] ^ s[a], 8);
    s[c] += s[d]; s[b] = rotate_left(s[b] ^ s[c], 7);
}

// Sixteen words of ChaCha8's stream (Bernstein, 2008; 64-bit counter), from word 16 · block on.
__device__ __forceinline__ void chacha8(const uint32* key, uint64 block, uint32* words) {
    uint32 start[16] = {0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u};
    for (int i = 0; i < 8; i++) start[4 + i] = key[i];
    start[12] = (uint32)block;
    start[13] = (uint32)(block >> 32);
    for (int i = 0; i < 16; i++) words[i] = start[i];
    for (int round = 0; round < 4; round++) {
        quarter_round(words, 0, 4, 8, 12);
        quarter_round(words, 1, 5, 9, 13);
        quarter_round(words, 2, 6, 10, 14);
        quarter_round(words, 3, 7, 11, 15);
        quarter_round(words, 0, 5, 10, 15);
        quarter_round(words, 1, 6, 11, 12);
        quarter_round(words, 2, 7, 8, 13);
        quarter_round(words, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++) words[i] += start[i];
}

// Draws a mask that is 0 with probability `rate`, else `keep`. `keys` `[images, 8]`, `mask`
// `[images, per_image]`; blockIdx.y is the image.
extern "C" __global__ void drop_units(const uint32* keys, Number* mask, uint64 per_image, float rate,
                                      float keep) {
    mask += (uint64)blockIdx.y * per_image;
    for (uint64 block = thread_number(); block * 16 < per_image; block += thread_count()) {
        uint32 words[16];
        chacha8(keys + 8 * blockIdx.y, block, words);
        for (int i = 0; i < 16; i++)
            if (block * 16 + i < per_image)
                mask[block * 16 + i] =
                    number((float)(words[i] >> 8) * 5.9604644775390625e-8f < rate ? 0 : (Real)keep);
    }
}

// Draws whether a square begins at each position, with probability `gamma`. `corners`
// `[images, per_image]`; blockIdx.y is the image.
extern "C" __global__ void drop_corners(const uint32* keys, unsigned char* corners, uint64 per_image,
                                        double gamma) {
    corners += (uint64)blockIdx.y * per_image;
    for (uint64 block = thread_number(); block * 8 < per_image; block += thread_count()) {
        uint32 words[16];
        chacha8(keys + 8 * blockIdx.y, block, words);
        for (int i = 0; i < 8; i++)
            if (block * 8 + i < per_image) {
                uint64 bits = (uint64)words[2 * i + 1] << 32 | words[2 * i];
                corners[block * 8 + i] = (double)(bits >> 11) * 1.1102230246251565e-16 < gamma;
            }
    }
}

// Marks the values that no square covers, and counts them. `corners` `[planes, height - size + 1,
// width - size + 1]`, `uncovered` `[planes, height, width]`. 256 threads per block.
extern "C" __global__ void drop_squares(const unsigned char* corners, unsigned char* uncovered,
                                        uint32* uncovered_count, uint64 count, uint32 height, uint32 width,
                                        uint32 size) {
    __shared__ uint32 sums[8];
    uint32 rows = height - size + 1, columns = width - size + 1, mine = 0;
    for (uint64 i = thread_number(); i < count; i += thread_count()) {
        uint32 x = (uint32)(i % width), y = (uint32)(i / width % height);
        const unsigned char* plane = corners + i / ((uint64)height * width) * rows * columns;
        bool is_covered = false;
        for (uint32 top = y < size ? 0 : y - size + 1; top <= y && top < rows; top++)
            for (uint32 left = x < size ? 0 : x - size + 1; left <= x && left < columns; left++)
                is_covered = is_covered || plane[top * columns + left];
        uncovered[i] = !is_covered;
        mine += !is_covered;
    }
    mine = warp_sum(mine);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = mine;
    __syncthreads();
    if (threadIdx.x > 0) return;
    mine = 0;
    for (int i = 0; i < 8; i++) mine += sums[i];
    atomicAdd(uncovered_count, mine);
}

// The mask: 0 where a square covers a value, else the factor that makes the mean 1.
extern "C" __global__ void drop_scaled(const unsigned char* uncovered, const uint32* uncovered_count, Number* mask,
                                       uint64 count) {
    float scale = *uncovered_count > 0 ? (float)((double)count / *uncovered_count) : 0;
    for (uint64 i = thread_number(); i < count; i += thread_count())
        mask[i] = number(uncovered[i] ? (Real)scale : 0);
}
