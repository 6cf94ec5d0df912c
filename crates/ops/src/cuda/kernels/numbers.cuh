// Number types. All kernels are compiled once for each: NUMBER_BITS is 64 (double), 32 (float) or
// 16 (bfloat16). `Number` is the type of images; `Real` that of computations, parameters and
// statistics.

#ifndef SIMULATED_GPU
#define DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#endif

typedef unsigned int uint32;
typedef unsigned long long uint64;

#if NUMBER_BITS == 64
typedef double Real;
typedef double Number;
#elif NUMBER_BITS == 32
typedef float Real;
typedef float Number;
#else
typedef float Real;
struct Number {
    unsigned short bits;
};
#endif

// How many numbers are read and written at once: 16 bytes.
#define WIDE (16 / (int)sizeof(Number))

template <int N>
struct alignas(N * sizeof(Number)) Pack {
    Number at[N];
};

#if NUMBER_BITS == 16
__device__ __forceinline__ Real real(Number x) {
    return __uint_as_float((uint32)x.bits << 16);
}

// Rounds to nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ Number number(Real x) {
    uint32 bits = __float_as_uint(x);
    Number y;
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        y.bits = (unsigned short)((bits >> 16) | 0x0040u);
    else
        y.bits = (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    return y;
}
#else
__device__ __forceinline__ Real real(Number x) { return x; }
__device__ __forceinline__ Number number(Real x) { return x; }
#endif

template <int N>
__device__ __forceinline__ void read(const Number* from, Real* to) {
    Pack<N> pack = *reinterpret_cast<const Pack<N>*>(from);
#pragma unroll
    for (int i = 0; i < N; i++) to[i] = real(pack.at[i]);
}

template <int N>
__device__ __forceinline__ void write(const Real* from, Number* to) {
    Pack<N> pack;
#pragma unroll
    for (int i = 0; i < N; i++) pack.at[i] = number(from[i]);
    *reinterpret_cast<Pack<N>*>(to) = pack;
}

__device__ __forceinline__ uint64 thread_number() {
    return (uint64)blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ uint64 thread_count() { return (uint64)gridDim.x * blockDim.x; }

// The sum over the threads of a warp, always in the same order, returned to all of them.
template <class T>
__device__ __forceinline__ T warp_sum(T x) {
    for (int distance = 16; distance > 0; distance /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, distance);
    return x;
}

__device__ __forceinline__ double not_a_number() { return (double)__uint_as_float(0x7fc00000u); }
