// Optimizer steps for all parameters in one launch. blockIdx.y is the parameter, blockIdx.x its
// chunk.

#define MAX_PARAMETERS 96

struct Parameters {
    Real* value[MAX_PARAMETERS];
    const Real* gradient[MAX_PARAMETERS];
    Real* first[MAX_PARAMETERS];
    Real* second[MAX_PARAMETERS];
    uint32 length[MAX_PARAMETERS];
};

extern "C" __global__ void sgd(Parameters p, Real rate, Real decay, Real momentum, Real keep,
                               Real take, int is_nesterov) {
    uint32 k = blockIdx.y;
    Real *w = p.value[k], *b = p.first[k];
    const Real* gradient = p.gradient[k];
    for (uint32 i = (uint32)thread_number(); i < p.length[k]; i += (uint32)thread_count()) {
        Real g = gradient[i] + decay * w[i];
        Real buffer = take * g;
        if (keep != 0) buffer += keep * b[i];
        b[i] = buffer;
        w[i] -= rate * (is_nesterov ? g + momentum * buffer : buffer);
    }
}

extern "C" __global__ void adam(Parameters p, Real size, Real root, Real decay, Real shrink,
                                Real beta1, Real beta2, Real eps) {
    uint32 k = blockIdx.y;
    Real *w = p.value[k], *m = p.first[k], *v = p.second[k];
    const Real* gradient = p.gradient[k];
    for (uint32 i = (uint32)thread_number(); i < p.length[k]; i += (uint32)thread_count()) {
        Real g = gradient[i] + decay * w[i];
        Real first = m[i] + (1 - beta1) * (g - m[i]);
        Real second = beta2 * v[i] + (1 - beta2) * g * g;
        m[i] = first;
        v[i] = second;
        w[i] = shrink * w[i] - size * first / (sqrt(second) / root + eps);
    }
}
