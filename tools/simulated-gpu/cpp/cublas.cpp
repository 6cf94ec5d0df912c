// cuBLAS: products of column-major matrices.
#include <cstdint>
#include <cstdio>

template <class T, class S>
static int gemm(int ta, int tb, int m, int n, int k, S alpha, const T* a, int lda, int64_t sa, const T* b, int ldb,
                int64_t sb, S beta, T* c, int ldc, int64_t sc, int batch) {
    if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return 7;
    for (int i = 0; i < batch; i++, a += sa, b += sb, c += sc)
        for (int column = 0; column < n; column++)
            for (int row = 0; row < m; row++) {
                double sum = 0;
                for (int l = 0; l < k; l++)
                    sum += (double)a[ta ? l + (int64_t)row * lda : row + (int64_t)l * lda] *
                           (double)b[tb ? column + (int64_t)l * ldb : l + (int64_t)column * ldb];
                T* to = c + row + (int64_t)column * ldc;
                *to = (T)(alpha * sum + (beta != 0 ? beta * *to : 0));
            }
    return 0;
}

extern "C" {
int cublasGemmStridedBatchedEx(void*, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int at,
                               int lda, long long sa, const void* b, int, int ldb, long long sb, const void* beta,
                               void* c, int, int ldc, long long sc, int batch, int, int) {
    if (at != 0) { fprintf(stderr, "simulated GPU: gemm of type %d\n", at); return 15; }
    return gemm(ta, tb, m, n, k, *(const float*)alpha, (const float*)a, lda, sa, (const float*)b, ldb, sb,
                *(const float*)beta, (float*)c, ldc, sc, batch);
}
int cublasDgemmStridedBatched(void*, int ta, int tb, int m, int n, int k, const double* alpha, const double* a,
                              int lda, long long sa, const double* b, int ldb, long long sb, const double* beta,
                              double* c, int ldc, long long sc, int batch) {
    return gemm(ta, tb, m, n, k, *alpha, a, lda, sa, b, ldb, sb, *beta, c, ldc, sc, batch);
}
int cublasSgemmStridedBatched(void*, int ta, int tb, int m, int n, int k, const float* alpha, const float* a, int lda,
                              long long sa, const float* b, int ldb, long long sb, const float* beta, float* c,
                              int ldc, long long sc, int batch) {
    return gemm(ta, tb, m, n, k, *alpha, a, lda, sa, b, ldb, sb, *beta, c, ldc, sc, batch);
}
}
