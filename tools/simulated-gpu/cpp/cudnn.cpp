// cuDNN's convolutions, with its checks of descriptors and workspaces.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

struct Tensor { int format, type, size[4]; };  // kernels, too: outputs, channels, height, width
struct Convolution { int padding[2], stride[2], dilation[2], mode, type, math; };
struct Found { int algorithm, status; float time; size_t memory; int determinism, math, reserved[3]; };
enum { BAD = 2000, NOT_SUPPORTED = 3000, NCHW = 0, NHWC = 1, FLOAT = 0, DOUBLE = 1, BFLOAT16 = 9 };
static const size_t WORKSPACE = 1000;

static float widen(uint16_t x) { uint32_t bits = (uint32_t)x << 16; float y; memcpy(&y, &bits, 4); return y; }
static uint16_t narrow(float x) {
    uint32_t bits; memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
static int out_size(int in, int k, int padding, int stride) { return (in + 2 * padding - k) / stride + 1; }

static int check(const Tensor* x, const Tensor* w, const Convolution* c, const Tensor* y) {
    if (x->format != y->format || x->format != w->format || x->type != w->type || x->type != y->type) return BAD;
    if (x->size[1] != w->size[1] || y->size[1] != w->size[0] || x->size[0] != y->size[0]) return BAD;
    for (int i = 0; i < 2; i++)
        if (y->size[2 + i] != out_size(x->size[2 + i], w->size[2 + i], c->padding[i], c->stride[i])) return BAD;
    if (c->mode != 1 || c->type != (x->type == DOUBLE ? DOUBLE : FLOAT)) return BAD;
    if (x->format == NHWC && x->type == DOUBLE) return NOT_SUPPORTED;
    if (x->format == NHWC && x->type == FLOAT && getenv("SIMULATED_CUDNN_REFUSES_NHWC")) return NOT_SUPPORTED;
    return 0;
}

// Visits all elements in the order [a, h, w, c], with their offsets in the tensor's layout.
template <class T> static void for_each_element(const Tensor& t, T visit) {
    size_t i = 0;
    for (int a = 0; a < t.size[0]; a++)
        for (int h = 0; h < t.size[2]; h++)
            for (int w = 0; w < t.size[3]; w++)
                for (int c = 0; c < t.size[1]; c++, i++)
                    visit(i, t.format == NHWC ? i : (((size_t)a * t.size[1] + c) * t.size[2] + h) * t.size[3] + w);
}
template <class S> static std::vector<S> read(const Tensor& t, const void* from) {
    std::vector<S> all((size_t)t.size[0] * t.size[1] * t.size[2] * t.size[3]);
    for_each_element(t, [&](size_t to, size_t at) {
        all[to] = t.type == DOUBLE ? (S)((const double*)from)[at] : t.type == FLOAT ? (S)((const float*)from)[at]
                                                                          : (S)widen(((const uint16_t*)from)[at]);
    });
    return all;
}
template <class S> static void write(const Tensor& t, const std::vector<S>& all, void* to) {
    for_each_element(t, [&](size_t from, size_t at) {
        if (t.type == DOUBLE) ((double*)to)[at] = all[from];
        else if (t.type == FLOAT) ((float*)to)[at] = (float)all[from];
        else ((uint16_t*)to)[at] = narrow((float)all[from]);
    });
}

// Visits all triples of input pixel, kernel position and output pixel that are multiplied, by the
// offsets of their first channels.
template <class V>
static void for_each_meeting(const Tensor& x, const Tensor& w, const Convolution& c, const Tensor& y, V visit) {
    for (int n = 0; n < y.size[0]; n++)
        for (int oy = 0; oy < y.size[2]; oy++)
            for (int ox = 0; ox < y.size[3]; ox++)
                for (int ky = 0; ky < w.size[2]; ky++) {
                    int iy = oy * c.stride[0] + ky - c.padding[0];
                    if (iy < 0 || iy >= x.size[2]) continue;
                    for (int kx = 0; kx < w.size[3]; kx++) {
                        int ix = ox * c.stride[1] + kx - c.padding[1];
                        if (ix < 0 || ix >= x.size[3]) continue;
                        visit((((size_t)n * x.size[2] + iy) * x.size[3] + ix) * x.size[1],
                              ((size_t)ky * w.size[3] + kx) * w.size[1],
                              (((size_t)n * y.size[2] + oy) * y.size[3] + ox) * y.size[1]);
                    }
                }
}

template <class S>
static void compute(int direction, const Tensor& xd, void* x, const Tensor& wd, void* w, const Convolution& c,
                    const Tensor& yd, void* y) {
    auto zero = [](const Tensor& t) { return std::vector<S>((size_t)t.size[0] * t.size[1] * t.size[2] * t.size[3]); };
    auto xs = direction == 1 ? zero(xd) : read<S>(xd, x);
    auto ws = direction == 2 ? zero(wd) : read<S>(wd, w);
    auto ys = direction == 0 ? zero(yd) : read<S>(yd, y);
    size_t channels = xd.size[1], outputs = yd.size[1], kernel_size = channels * wd.size[2] * wd.size[3];
    for_each_meeting(xd, wd, c, yd, [&](size_t xi, size_t wi, size_t yi) {
        for (size_t k = 0; k < outputs; k++) {
            S* kernel = &ws[k * kernel_size + wi];
            S* pixel = &xs[xi];
            if (direction == 0) {
                S sum = 0;
                for (size_t i = 0; i < channels; i++) sum += pixel[i] * kernel[i];
                ys[yi + k] += sum;
            } else {
                S d = ys[yi + k];
                if (direction == 1) for (size_t i = 0; i < channels; i++) pixel[i] += d * kernel[i];
                else for (size_t i = 0; i < channels; i++) kernel[i] += d * pixel[i];
            }
        }
    });
    if (direction == 0) write(yd, ys, y);
    if (direction == 1) write(xd, xs, x);
    if (direction == 2) write(wd, ws, w);
}

static int run(int direction, int algorithm, const Tensor* x, const void* xp, const Tensor* w, const void* wp,
               const Convolution* c, const Tensor* y, const void* yp, size_t workspace, const void* alpha,
               const void* beta) {
    if (int status = check(x, w, c, y)) return status;
    if (workspace < WORKSPACE * (algorithm == 1)) return BAD;
    bool is_unscaled = x->type == DOUBLE ? *(const double*)alpha == 1 && *(const double*)beta == 0
                                   : *(const float*)alpha == 1 && *(const float*)beta == 0;
    if (!is_unscaled) return NOT_SUPPORTED;
    auto work = x->type == DOUBLE ? compute<double> : compute<float>;
    work(direction, *x, (void*)xp, *w, (void*)wp, *c, *y, (void*)yp);
    return 0;
}

static int find(const Tensor* x, const Tensor* w, const Convolution* c, const Tensor* y, int wanted, int* count,
                Found* found) {
    if (int status = check(x, w, c, y)) return status;
    Found all[3] = {{0, 0, 0.5f, 0, 0, c->math, {}}, {1, 0, 1, WORKSPACE, 1, c->math, {}}, {2, 0, 2, 0, 1, c->math, {}}};
    *count = wanted < 3 ? wanted : 3;
    memcpy(found, all, sizeof(Found) * *count);
    return 0;
}

extern "C" {
int cudnnCreate(void** handle) { *handle = (void*)0x4000; return 0; }
size_t cudnnGetVersion() { return 91000; }
const char* cudnnGetErrorString(int) { return "refused by the simulated cuDNN"; }
int cudnnCreateTensorDescriptor(Tensor** t) { *t = new Tensor(); return 0; }
int cudnnCreateFilterDescriptor(Tensor** t) { *t = new Tensor(); return 0; }
int cudnnCreateConvolutionDescriptor(Convolution** c) { *c = new Convolution(); return 0; }
int cudnnDestroyTensorDescriptor(Tensor* t) { delete t; return 0; }
int cudnnDestroyFilterDescriptor(Tensor* t) { delete t; return 0; }
int cudnnDestroyConvolutionDescriptor(Convolution* c) { delete c; return 0; }
int cudnnSetTensor4dDescriptor(Tensor* t, int format, int type, int n, int c, int h, int w) {
    *t = {format, type, {n, c, h, w}};
    return n > 0 && c > 0 && h > 0 && w > 0 ? 0 : BAD;
}
int cudnnSetFilter4dDescriptor(Tensor* t, int type, int format, int k, int c, int h, int w) {
    *t = {format, type, {k, c, h, w}};
    return 0;
}
int cudnnSetConvolution2dDescriptor(Convolution* d, int ph, int pw, int sh, int sw, int dh, int dw, int mode, int type) {
    *d = {{ph, pw}, {sh, sw}, {dh, dw}, mode, type, 0};
    return 0;
}
int cudnnSetConvolutionMathType(Convolution* c, int math) { c->math = math; return 0; }
int cudnnFindConvolutionForwardAlgorithmEx(void*, Tensor* x, const void*, Tensor* w, const void*, Convolution* c, Tensor* y,
                                           void*, int wanted, int* count, Found* found, void*, size_t) {
    return find(x, w, c, y, wanted, count, found);
}
int cudnnFindConvolutionBackwardDataAlgorithmEx(void*, Tensor* w, const void*, Tensor* y, const void*, Convolution* c,
                                                Tensor* x, void*, int wanted, int* count, Found* found, void*, size_t) {
    return find(x, w, c, y, wanted, count, found);
}
int cudnnFindConvolutionBackwardFilterAlgorithmEx(void*, Tensor* x, const void*, Tensor* y, const void*, Convolution* c,
                                                  Tensor* w, void*, int wanted, int* count, Found* found, void*, size_t) {
    return find(x, w, c, y, wanted, count, found);
}
int cudnnConvolutionForward(void*, const void* alpha, Tensor* x, const void* xp, Tensor* w, const void* wp, Convolution* c,
                            int algorithm, void*, size_t workspace, const void* beta, Tensor* y, void* yp) {
    return run(0, algorithm, x, xp, w, wp, c, y, yp, workspace, alpha, beta);
}
int cudnnConvolutionBackwardData(void*, const void* alpha, Tensor* w, const void* wp, Tensor* y, const void* yp,
                                 Convolution* c, int algorithm, void*, size_t workspace, const void* beta, Tensor* x,
                                 void* xp) {
    return run(1, algorithm, x, xp, w, wp, c, y, yp, workspace, alpha, beta);
}
int cudnnConvolutionBackwardFilter(void*, const void* alpha, Tensor* x, const void* xp, Tensor* y, const void* yp,
                                   Convolution* c, int algorithm, void*, size_t workspace, const void* beta, Tensor* w,
                                   void* wp) {
    return run(2, algorithm, x, xp, w, wp, c, y, yp, workspace, alpha, beta);
}
}
