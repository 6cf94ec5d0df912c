// Changes of layout, and sums and products of whole tensors.

// Transposes each matrix [rows, columns] of a batch (blockIdx.z).
template <class From, class To, class Convert>
__device__ __forceinline__ void transpose(const From* x, To* y, uint32 rows, uint32 columns,
                                          Convert convert) {
    __shared__ Real tile[32][33];
    uint64 matrix = (uint64)rows * columns * blockIdx.z;
    uint32 column = blockIdx.x * 32 + threadIdx.x;
    for (uint32 i = threadIdx.y; i < 32; i += blockDim.y) {
        uint32 row = blockIdx.y * 32 + i;
        if (row < rows && column < columns)
            tile[i][threadIdx.x] = convert.in(x[matrix + (uint64)row * columns + column]);
    }
    __syncthreads();
    uint32 row = blockIdx.y * 32 + threadIdx.x;
    for (uint32 i = threadIdx.y; i < 32; i += blockDim.y) {
        uint32 column = blockIdx.x * 32 + i;
        if (row < rows && column < columns)
            y[matrix + (uint64)column * rows + row] = convert.out(tile[threadIdx.x][i]);
    }
}

struct NumberToNumber {
    __device__ __forceinline__ Real in(Number x) { return real(x); }
    __device__ __forceinline__ Number out(Real x) { return number(x); }
};
struct RealToNumber {
    __device__ __forceinline__ Real in(Real x) { return x; }
    __device__ __forceinline__ Number out(Real x) { return number(x); }
};
struct NumberToReal {
    __device__ __forceinline__ Real in(Number x) { return real(x); }
    __device__ __forceinline__ Real out(Real x) { return x; }
};

extern "C" __global__ void transposed(const Number* x, Number* y, uint32 rows, uint32 columns) {
    transpose(x, y, rows, columns, NumberToNumber());
}

extern "C" __global__ void transposed_from_real(const Real* x, Number* y, uint32 rows,
                                                uint32 columns) {
    transpose(x, y, rows, columns, RealToNumber());
}

extern "C" __global__ void transposed_to_real(const Number* x, Real* y, uint32 rows,
                                              uint32 columns) {
    transpose(x, y, rows, columns, NumberToReal());
}

extern "C" __global__ void from_real(const Real* x, Number* y, uint64 count) {
    for (uint64 i = thread_number(); i < count; i += thread_count()) y[i] = number(x[i]);
}

extern "C" __global__ void sum(const Number* a, const Number* b, Number* y, uint64 count) {
    for (uint64 i = thread_number() * WIDE; i < count; i += thread_count() * WIDE) {
        if (i + WIDE <= count) {
            Real left[WIDE], right[WIDE];
            read<WIDE>(a + i, left);
            read<WIDE>(b + i, right);
            for (int k = 0; k < WIDE; k++) left[k] += right[k];
            write<WIDE>(left, y + i);
        } else {
            for (uint64 k = i; k < count; k++) y[k] = number(real(a[k]) + real(b[k]));
        }
    }
}

extern "C" __global__ void product(const Number* a, const Number* b, Number* y, uint64 count) {
    for (uint64 i = thread_number(); i < count; i += thread_count())
        y[i] = number(real(a[i]) * real(b[i]));
}

extern "C" __global__ void add_to_rows(Number* y, const Real* bias, uint64 count, uint32 columns) {
    for (uint64 i = thread_number(); i < count; i += thread_count())
        y[i] = number(real(y[i]) + bias[i % columns]);
}

extern "C" __global__ void activation(const Number* x, Number* y, uint64 count, Real slope) {
    for (uint64 i = thread_number(); i < count; i += thread_count()) {
        Real v = real(x[i]);
        y[i] = number(v > 0 ? v : slope * v);
    }
}

extern "C" __global__ void activation_gradient(const Number* y, const Number* dy, Number* dx,
                                               uint64 count, Real slope) {
    for (uint64 i = thread_number(); i < count; i += thread_count()) {
        Real v = real(dy[i]);
        dx[i] = number(real(y[i]) > 0 ? v : slope * v);
    }
}
