// GemmKernel.h: the inner part of gemm(), compiled once per instruction set (GemmAvx2.cpp,
// GemmAvx512.cpp).
//
// A block of the result is computed chunk by chunk of k. Of each chunk, the right side is packed
// into panels of columns (or read in place where it already is one), the left side is read in
// place, one broadcast element at a time. A tile of up to tileRows x panel results stays in
// registers over the chunk.
//
// Nothing here may be an inline function that other translation units also have: the linker would
// keep one copy, and it might be the one for the larger instruction set. Hence no library header
// and one anonymous namespace.
#ifndef GALVATRON_RT_DEVICE_CPU_GEMMKERNEL_H
#define GALVATRON_RT_DEVICE_CPU_GEMMKERNEL_H

#include <stdint.h>

namespace galvatron_rt {

/// One block of one matrix of the batch: pointers are at the block's first row and column.
struct GemmBlock {
  const float *lhs, *rhs, *bias; // bias NULL = none
  float *out;
  int64_t m, n, k;
  int64_t lhsM, lhsK, rhsK, rhsN, outM, outN;
  bool biasAlongM, accumulate;
  float *packed; // panelColumns * chunk floats per panel of the block
  float *tile;   // tileRows * panelColumns floats
};

struct GemmKernel {
  int64_t tileRows, panelColumns, chunk;
  void (*run)(const GemmBlock &block);
};

extern const GemmKernel gemmKernelAvx2, gemmKernelAvx512;

namespace {

/// The numbers 0 to n - 1 as template arguments.
template <int... lane> struct Lanes {};
template <int n, int... lane> struct MakeLanes : MakeLanes<n - 1, n - 1, lane...> {};
template <int... lane> struct MakeLanes<0, lane...> {
  using type = Lanes<lane...>;
};

/// `width` floats per register, `vectors` registers per panel row.
template <int width, int vectors, int rows, int64_t chunkSize> struct Kernels {
  typedef float Vector __attribute__((vector_size(width * 4)));
  typedef float Unaligned __attribute__((vector_size(width * 4), aligned(4), may_alias));
  static constexpr int64_t panel = width * vectors;

  static Vector load(const float *p) { return *reinterpret_cast<const Unaligned *>(p); }
  static void store(float *p, Vector v) { *reinterpret_cast<Unaligned *>(p) = v; }

  /// target[r, :] (+)= lhs[r, :] . panel; `used` vectors of each row.
  template <int tileRows, int used>
  static void tile(int64_t k, const float *lhs, int64_t lhsM, int64_t lhsK, const float *rhs,
                   int64_t rhsK, float *target, int64_t targetM, bool add) {
    Vector sum[tileRows][used] = {};
    const float *row[tileRows];
    for (int r = 0; r < tileRows; ++r)
      row[r] = lhs + r * lhsM;
    for (int64_t p = 0; p < k; ++p) {
      Vector right[used];
      for (int v = 0; v < used; ++v)
        right[v] = load(rhs + p * rhsK + v * width);
      for (int r = 0; r < tileRows; ++r) {
        // A broadcast: x - 0 is x for every x, which the compiler knows; of 0 + x that is not true.
        Vector left = row[r][p * lhsK] - Vector{};
        for (int v = 0; v < used; ++v)
          sum[r][v] += left * right[v];
      }
    }
    for (int r = 0; r < tileRows; ++r)
      for (int v = 0; v < used; ++v) {
        float *place = target + r * targetM + v * width;
        store(place, add ? load(place) + sum[r][v] : sum[r][v]);
      }
  }

  using TileFn = void (*)(int64_t, const float *, int64_t, int64_t, const float *, int64_t, float *,
                          int64_t, bool);

  template <int used> static TileFn pickRows(int64_t tileRows) {
    static_assert(rows <= 6, "add the missing cases");
    switch (tileRows) {
    case 1:
      return tile<1, used>;
    case 2:
      return tile<2, used>;
    case 3:
      return tile<3, used>;
    case 4:
      return tile<4, used>;
    case 5:
      return tile<5, used>;
    }
    return tile<6, used>;
  }

  static TileFn pick(int64_t tileRows, int64_t used) {
    static_assert(vectors == 2 || vectors == 4, "add the missing cases");
    if constexpr (vectors == 4) {
      if (used == 3)
        return pickRows<3>(tileRows);
      if (used == 4)
        return pickRows<4>(tileRows);
    }
    return used == 1 ? pickRows<1>(tileRows) : pickRows<2>(tileRows);
  }

  /// One step of transposing a square of registers: exchanges the off-diagonal blocks of size
  /// `step` of rows a and b. Lane i of the new a is a[i] or b[i - step], of the new b a[i + step]
  /// or b[i].
  template <int step, int... lane> static void exchange(Vector &a, Vector &b, Lanes<lane...>) {
    Vector low = __builtin_shufflevector(a, b, (lane & step ? width + lane - step : lane)...);
    b = __builtin_shufflevector(a, b, (lane & step ? width + lane : lane + step)...);
    a = low;
  }

  template <int step> static void transposeFrom(Vector (&square)[width]) {
    if constexpr (step > 0) {
      for (int i = 0; i < width; ++i)
        if (!(i & step))
          exchange<step>(square[i], square[i + step], typename MakeLanes<width>::type{});
      transposeFrom<step / 2>(square);
    }
  }

  /// to[p, j] = from[j, p] for one square of width x width.
  static void transposeSquare(const float *from, int64_t fromStride, float *to, int64_t toStride) {
    Vector square[width];
    for (int j = 0; j < width; ++j)
      square[j] = load(from + j * fromStride);
    transposeFrom<width / 2>(square);
    for (int p = 0; p < width; ++p)
      store(to + p * toStride, square[p]);
  }

  /// packed[p, j] = rhs[p, j] for j < columns, 0 up to the next whole register.
  static void pack(const GemmBlock &b, const float *rhs, int64_t k, int64_t columns,
                   float *packed) {
    int64_t padded = (columns + width - 1) / width * width;
    if (b.rhsN == 1) {
      for (int64_t p = 0; p < k; ++p) {
        for (int64_t j = 0; j < columns; ++j)
          packed[p * panel + j] = rhs[p * b.rhsK + j];
        for (int64_t j = columns; j < padded; ++j)
          packed[p * panel + j] = 0;
      }
      return;
    }
    for (int64_t j = columns; j < padded; ++j)
      for (int64_t p = 0; p < k; ++p)
        packed[p * panel + j] = 0;
    for (int64_t j = 0; j < columns;) {
      if (b.rhsK == 1 && j + width <= columns) {
        int64_t p = 0;
        for (; p + width <= k; p += width)
          transposeSquare(rhs + j * b.rhsN + p, b.rhsN, packed + p * panel + j, panel);
        for (; p < k; ++p)
          for (int64_t c = j; c < j + width; ++c)
            packed[p * panel + c] = rhs[c * b.rhsN + p];
        j += width;
        continue;
      }
      for (int64_t p = 0; p < k; ++p)
        packed[p * panel + j] = rhs[j * b.rhsN + p * b.rhsK];
      ++j;
    }
  }

  /// Writes a finished tile where whole registers cannot: odd columns, strides.
  static void spill(const GemmBlock &b, float *out, int64_t tileRows, int64_t columns, bool add) {
    for (int64_t r = 0; r < tileRows; ++r)
      for (int64_t j = 0; j < columns; ++j) {
        float *place = out + r * b.outM + j * b.outN;
        *place = (add ? *place : 0.0f) + b.tile[r * panel + j];
      }
  }

  static void addBias(const GemmBlock &b) {
    for (int64_t i = 0; i < b.m; ++i)
      for (int64_t j = 0; j < b.n; ++j) {
        float *place = b.out + i * b.outM + j * b.outN;
        *place += b.bias[b.biasAlongM ? i : j];
      }
  }

  static void run(const GemmBlock &b) {
    for (int64_t begin = 0; begin < b.k; begin += chunkSize) {
      int64_t k = b.k - begin < chunkSize ? b.k - begin : chunkSize;
      bool add = b.accumulate || begin > 0;
      for (int64_t j = 0; j < b.n; j += panel) {
        int64_t columns = b.n - j < panel ? b.n - j : panel;
        const float *rhs = b.rhs + begin * b.rhsK + j * b.rhsN;
        int64_t rhsK = b.rhsK;
        bool whole = columns % width == 0;
        if (b.rhsN != 1 || !whole || b.m > 64) {
          pack(b, rhs, k, columns, b.packed);
          rhs = b.packed;
          rhsK = panel;
        }
        bool direct = whole && b.outN == 1;
        int64_t used = (columns + width - 1) / width;
        for (int64_t i = 0; i < b.m; i += rows) {
          int64_t tileRows = b.m - i < rows ? b.m - i : rows;
          const float *lhs = b.lhs + i * b.lhsM + begin * b.lhsK;
          float *out = b.out + i * b.outM + j * b.outN;
          TileFn fn = pick(tileRows, used);
          if (direct) {
            fn(k, lhs, b.lhsM, b.lhsK, rhs, rhsK, out, b.outM, add);
          } else {
            fn(k, lhs, b.lhsM, b.lhsK, rhs, rhsK, b.tile, panel, false);
            spill(b, out, tileRows, columns, add);
          }
        }
      }
    }
    if (b.bias)
      addBias(b);
  }
};

} // namespace
} // namespace galvatron_rt

#endif // GALVATRON_RT_DEVICE_CPU_GEMMKERNEL_H
