// Those kernels of candle that the tests use, by name: candle's compiled kernels cannot run here.
#include "shim.h"
#include <algorithm>
#include <functional>
#include <map>
#include <string>
#undef blockIdx
#undef blockDim
#undef gridDim
#undef threadIdx

typedef void (*Kernel)(void** arguments);
struct BFloat16 { unsigned short bits; };
static float widen(BFloat16 x) { return __uint_as_float((unsigned)x.bits << 16); }
static double widen(double x) { return x; }
static float widen(float x) { return x; }
static double widen(unsigned x) { return x; }
static double widen(unsigned char x) { return x; }
template <class T, class F> static T narrow(F x) { return (T)x; }
template <> BFloat16 narrow<BFloat16, float>(float x) {
    unsigned bits = __float_as_uint(x);
    return {(unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}
template <> BFloat16 narrow<BFloat16, double>(double x) { return narrow<BFloat16, float>((float)x); }

// Kernels here do the work of the whole grid in its first thread.
static bool is_first() {
    return !(simulated_thread.x | simulated_thread.y | simulated_block.x | simulated_block.y | simulated_block.z);
}
static size_t offset(size_t i, size_t rank, const size_t* dims, const size_t* strides) {
    size_t at = 0;
    for (size_t d = rank; d-- > 0;) { at += i % dims[d] * strides[d]; i /= dims[d]; }
    return at;
}
template <class T> static T of(void** a, int i) { return *(T*)a[i]; }

template <class T> static void const_set(void** a) {
    if (!is_first()) return;
    size_t count = of<size_t>(a, 0), rank = of<size_t>(a, 1);
    const size_t* info = of<const size_t*>(a, 2);
    T value = of<T>(a, 3), *out = of<T*>(a, 4);
    for (size_t i = 0; i < count; i++) out[info ? offset(i, rank, info, info + rank) : i] = value;
}
template <class From, class To, class F> static void unary(void** a, F f) {
    if (!is_first()) return;
    size_t count = of<size_t>(a, 0), rank = of<size_t>(a, 1);
    const size_t* info = of<const size_t*>(a, 2);
    const From* in = of<const From*>(a, 3);
    To* out = of<To*>(a, 4);
    for (size_t i = 0; i < count; i++)
        out[i] = narrow<To>(f(widen(in[info ? offset(i, rank, info, info + rank) : i])));
}
template <class From, class To> static void cast(void** a) {
    unary<From, To>(a, [](auto x) { return x; });
}
template <class T, char OP> static void map(void** a) {
    unary<T, T>(a, [](T x) -> T {
        switch (OP) {
        case 's': return x * x;
        case 'r': return std::sqrt(x);
        case 'a': return std::fabs(x);
        case 'p': return x > 0 ? x : 0;
        case 'e': return std::exp(x);
        case 'l': return std::log(x);
        default: return -x;
        }
    });
}
template <class T> static void affine(void** a) {
    if (!is_first()) return;
    size_t count = of<size_t>(a, 0), rank = of<size_t>(a, 1);
    const size_t* info = of<const size_t*>(a, 2);
    const T* in = of<const T*>(a, 3);
    T *out = of<T*>(a, 4), factor = of<T>(a, 5), summand = of<T>(a, 6);
    for (size_t i = 0; i < count; i++) {
        size_t at = info ? offset(i, rank, info, info + rank) : i;
        out[i] = (in ? in[at] : out[i]) * factor + summand;
    }
}
template <class T, char OP> static void binary(void** a) {
    if (!is_first()) return;
    size_t count = of<size_t>(a, 0), rank = of<size_t>(a, 1);
    const size_t* info = of<const size_t*>(a, 2);
    const T *x = of<const T*>(a, 3), *y = of<const T*>(a, 4);
    T* out = of<T*>(a, 5);
    for (size_t i = 0; i < count; i++) {
        T l = x[info ? offset(i, rank, info, info + rank) : i];
        T r = y[info ? offset(i, rank, info, info + 2 * rank) : i];
        out[i] = OP == '+' ? l + r : OP == '-' ? l - r : OP == '*' ? l * r : l / r;
    }
}
template <class T> static void copy2d(void** a) {
    if (!is_first()) return;
    const T* from = of<const T*>(a, 0);
    T* to = of<T*>(a, 1);
    unsigned rows = of<unsigned>(a, 2), columns = of<unsigned>(a, 3);
    unsigned from_stride = of<unsigned>(a, 4), to_stride = of<unsigned>(a, 5);
    for (unsigned i = 0; i < rows; i++)
        for (unsigned k = 0; k < columns; k++) to[i * to_stride + k] = from[i * from_stride + k];
}
// OP '+' adds, 'm' takes the largest. The first argument counts inputs, or outputs if SMALL, where each
// thread computes one output.
template <class T, char OP, bool SMALL> static void reduce(void** a) {
    if (!is_first()) return;
    size_t count = of<size_t>(a, 0), together = of<size_t>(a, 1), rank = of<size_t>(a, 2);
    const size_t* info = of<const size_t*>(a, 3);
    const T* in = of<const T*>(a, 4);
    T* out = of<T*>(a, 5);
    size_t results = SMALL ? count : count / (together ? together : 1);
    for (size_t i = 0; i < results; i++) {
        double result = OP == '+' ? 0 : -INFINITY;
        for (size_t k = 0; k < together; k++) {
            double value = in[offset(i * together + k, rank, info, info + rank)];
            result = OP == '+' ? result + value : std::max(result, value);
        }
        out[i] = (T)result;
    }
}
template <class T> static void index_select(void** a) {
    if (!is_first()) return;
    size_t count = of<size_t>(a, 0);
    const unsigned* ids = of<const unsigned*>(a, 3);
    const T* in = of<const T*>(a, 4);
    T* out = of<T*>(a, 5);
    size_t from = of<size_t>(a, 7), to = of<size_t>(a, 8), right = of<size_t>(a, 9);
    for (size_t i = 0; i < count; i++) {
        size_t left = i / (to * right), id = ids[i / right % to];
        out[i] = in[(left * from + id) * right + i % right];
    }
}
template <class T> static void gather(void** a) {
    if (!is_first()) return;
    size_t count = of<size_t>(a, 0);
    const unsigned* ids = of<const unsigned*>(a, 1);
    const T* in = of<const T*>(a, 2);
    T* out = of<T*>(a, 3);
    size_t from = of<size_t>(a, 5), to = of<size_t>(a, 6), right = of<size_t>(a, 7);
    for (size_t i = 0; i < count; i++)
        out[i] = in[(i / (right * to) * from + ids[i]) * right + i % right];
}
template <class T> static void scatter_add(void** a) {
    if (!is_first()) return;
    const unsigned* ids = of<const unsigned*>(a, 0);
    const T* in = of<const T*>(a, 1);
    T* out = of<T*>(a, 2);
    size_t left = of<size_t>(a, 3), from = of<size_t>(a, 4), to = of<size_t>(a, 5), right = of<size_t>(a, 6);
    for (size_t i = 0; i < left * from * right; i++)
        out[(i / (from * right) * to + ids[i]) * right + i % right] += in[i];
}

Kernel kernel_of_candle(const char* name) {
    static const std::map<std::string, Kernel> known = {
        {"const_set_f32", const_set<float>}, {"const_set_f64", const_set<double>},
        {"const_set_u32", const_set<unsigned>}, {"const_set_bf16", const_set<BFloat16>},
        {"ucopy_f32", cast<float, float>}, {"ucopy_f64", cast<double, double>},
        {"ucopy_bf16", cast<BFloat16, BFloat16>}, {"ucopy_u32", cast<unsigned, unsigned>},
        {"copy2d_f32", copy2d<float>}, {"copy2d_u32", copy2d<unsigned>},
        {"cast_f32_bf16", cast<float, BFloat16>}, {"cast_bf16_f32", cast<BFloat16, float>},
        {"cast_f32_f64", cast<float, double>}, {"cast_f64_f32", cast<double, float>},
        {"cast_f64_bf16", cast<double, BFloat16>}, {"cast_bf16_f64", cast<BFloat16, double>},
        {"cast_u8_f32", cast<unsigned char, float>}, {"cast_u32_f32", cast<unsigned, float>},
        {"affine_f32", affine<float>}, {"affine_f64", affine<double>},
        {"usqr_f32", map<float, 's'>}, {"usqr_f64", map<double, 's'>},
        {"usqrt_f32", map<float, 'r'>}, {"usqrt_f64", map<double, 'r'>},
        {"uabs_f32", map<float, 'a'>}, {"uabs_f64", map<double, 'a'>},
        {"urelu_f32", map<float, 'p'>}, {"urelu_f64", map<double, 'p'>},
        {"uexp_f32", map<float, 'e'>}, {"uexp_f64", map<double, 'e'>},
        {"ulog_f32", map<float, 'l'>}, {"ulog_f64", map<double, 'l'>},
        {"uneg_f32", map<float, '-'>}, {"uneg_f64", map<double, '-'>},
        {"badd_f32", binary<float, '+'>}, {"badd_f64", binary<double, '+'>},
        {"bsub_f32", binary<float, '-'>}, {"bsub_f64", binary<double, '-'>},
        {"bmul_f32", binary<float, '*'>}, {"bmul_f64", binary<double, '*'>},
        {"bdiv_f32", binary<float, '/'>}, {"bdiv_f64", binary<double, '/'>},
        {"fast_sum_f32", reduce<float, '+', false>}, {"fast_sum_f64", reduce<double, '+', false>},
        {"fast_max_f32", reduce<float, 'm', false>}, {"fast_max_f64", reduce<double, 'm', false>},
        {"fast_max_small_f32", reduce<float, 'm', true>}, {"fast_max_small_f64", reduce<double, 'm', true>},
        {"is_u32_f32", index_select<float>}, {"is_u32_f64", index_select<double>},
        {"is_u32_u32", index_select<unsigned>}, {"is_u32_bf16", index_select<BFloat16>},
        {"gather_u32_f32", gather<float>}, {"gather_u32_f64", gather<double>},
        {"sa_u32_f32", scatter_add<float>}, {"sa_u32_f64", scatter_add<double>},
        {"fast_sum_small_f32", reduce<float, '+', true>}, {"fast_sum_small_f64", reduce<double, '+', true>},
    };
    auto found = known.find(name);
    return found == known.end() ? nullptr : found->second;
}
