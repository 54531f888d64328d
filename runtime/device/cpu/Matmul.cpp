// Matmul.cpp: see Matmul.h.
#include "device/cpu/Matmul.h"

#include <algorithm>
#include <cstring>

namespace galvatron_rt {
namespace {

using Batch = GemmProblem::Batch;

void checkRecord(const galvatron_rt_matmul_record &r, const std::string &what) {
  if (r.flags & ~(GALVATRON_RT_MATMUL_HAS_BIAS | GALVATRON_RT_MATMUL_ACCUMULATE))
    fail(what, " has unknown flags ", r.flags);
  if (r.batch_rank < 0 || r.batch_rank > GALVATRON_RT_MAX_BATCH_DIMS)
    fail(what, " has ", r.batch_rank, " batch dimensions, at most ", GALVATRON_RT_MAX_BATCH_DIMS,
         " are possible");
  int64_t size = 1;
  for (int64_t i = 0; i < r.batch_rank; ++i) {
    size = checkedMultiply(size, r.batch[i], what.c_str());
    if (r.lhs_batch_strides[i] < 0 || r.rhs_batch_strides[i] < 0 || r.out_batch_strides[i] < 0)
      fail(what, " has a negative stride in batch dimension ", i);
    if (r.batch[i] > 1 && r.out_batch_strides[i] == 0)
      fail(what, " writes batch dimension ", i, " of size ", r.batch[i], " to one place");
  }
  for (int64_t dim : {r.m, r.n, r.k})
    if (dim < 1)
      fail(what, " has sizes ", r.m, ", ", r.n, ", ", r.k, ", wanted at least 1 each");
  for (int64_t i = 0; i < 2; ++i)
    if (r.lhs_strides[i] < 0 || r.rhs_strides[i] < 0 || r.out_strides[i] < 0)
      fail(what, " has a negative stride");
  if ((r.m > 1 && r.out_strides[0] == 0) || (r.n > 1 && r.out_strides[1] == 0))
    fail(what, " writes several elements to one place");
  checkedMultiply(checkedMultiply(checkedMultiply(size, r.m, what.c_str()), r.n, what.c_str()), r.k,
                  what.c_str());
}

/// Drops batch dimensions of size 1, joins neighbours that are one in all three operands, and lets
/// the innermost batch dimension become part of m or n where the other operand does not change over
/// it.
void simplifyBatch(GemmProblem &p) {
  std::vector<Batch> kept;
  for (int64_t i = 0; i < p.batchRank; ++i) {
    Batch next = p.batch[i];
    if (next.size == 1)
      continue;
    if (!kept.empty()) {
      const Batch &last = kept.back();
      if (last.lhs == next.lhs * next.size && last.rhs == next.rhs * next.size &&
          last.out == next.out * next.size) {
        kept.back() = {last.size * next.size, next.lhs, next.rhs, next.out};
        continue;
      }
    }
    kept.push_back(next);
  }
  while (!kept.empty()) {
    const Batch &last = kept.back();
    if (last.rhs == 0 && !p.biasAlongM && last.lhs == p.m * p.lhsM && last.out == p.m * p.outM) {
      p.m *= last.size;
    } else if (last.lhs == 0 && !p.hasBias && last.rhs == p.n * p.rhsN &&
               last.out == p.n * p.outN) {
      p.n *= last.size;
    } else {
      break;
    }
    kept.pop_back();
  }
  p.batchRank = static_cast<int64_t>(kept.size());
  std::copy(kept.begin(), kept.end(), p.batch);
}

void swapSides(GemmProblem &p) {
  std::swap(p.m, p.n);
  GemmProblem old = p;
  p.lhsM = old.rhsN;
  p.lhsK = old.rhsK;
  p.rhsK = old.lhsK;
  p.rhsN = old.lhsM;
  p.outM = old.outN;
  p.outN = old.outM;
  for (int64_t i = 0; i < p.batchRank; ++i)
    std::swap(p.batch[i].lhs, p.batch[i].rhs);
  p.biasAlongM = p.hasBias;
}

/// oneDNN finds its kernels by comparing strides with those of dense layouts, also where a
/// dimension of size 1 makes the stride meaningless: such strides become what a dense layout has.
void tidyStrides(int64_t rows, int64_t columns, int64_t &rowStride, int64_t &columnStride) {
  if (columns == 1 && rows == 1) {
    rowStride = columnStride = 1;
  } else if (columns == 1) {
    if (rowStride != 1)
      columnStride = 1;
    else
      columnStride = rows;
  } else if (rows == 1) {
    if (columnStride == 1)
      rowStride = columns;
    else
      rowStride = 1;
  }
}

} // namespace

Matmul::Matmul(const galvatron_rt_matmul_record &r, int64_t threads, int64_t cpuLevel,
               const std::string &what)
    : threads(threads), cpuLevel(cpuLevel), what(what) {
  checkRecord(r, what);
  problem.batchRank = r.batch_rank;
  for (int64_t i = 0; i < r.batch_rank; ++i)
    problem.batch[i] = {r.batch[i], r.lhs_batch_strides[i], r.rhs_batch_strides[i],
                        r.out_batch_strides[i]};
  problem.m = r.m;
  problem.n = r.n;
  problem.k = r.k;
  problem.lhsM = r.lhs_strides[0];
  problem.lhsK = r.lhs_strides[1];
  problem.rhsK = r.rhs_strides[0];
  problem.rhsN = r.rhs_strides[1];
  problem.outM = r.out_strides[0];
  problem.outN = r.out_strides[1];
  problem.hasBias = r.flags & GALVATRON_RT_MATMUL_HAS_BIAS;
  problem.accumulate = r.flags & GALVATRON_RT_MATMUL_ACCUMULATE;
  bool outIsTransposed = problem.outN != 1 && problem.n > 1 && problem.outM == 1;
  if (outIsTransposed) {
    swapSides(problem);
    swapped = true;
  }
  simplifyBatch(problem);
  tidyStrides(problem.m, problem.k, problem.lhsM, problem.lhsK);
  tidyStrides(problem.k, problem.n, problem.rhsK, problem.rhsN);
  tidyStrides(problem.m, problem.n, problem.outM, problem.outN);
  if (problem.batchCount() == 0) {
    name = "nothing";
    return;
  }
  tryLibrary();
  if (library)
    return;
  scratch = gemmScratchBytes(problem, threads, cpuLevel);
  name = gemmName(cpuLevel);
}

/// Takes oneDNN's kernel if it is one that keeps to the scratch memory it is given ("brg").
void Matmul::tryLibrary() {
  using dnnl::memory;
  if (problem.biasAlongM)
    return;
  memory::dims lhsDims, rhsDims, outDims, lhsStrides, rhsStrides, outStrides;
  for (int64_t i = 0; i < problem.batchRank; ++i) {
    const Batch &b = problem.batch[i];
    // A stride of 0 is a broadcast: oneDNN wants a dimension of 1 there.
    lhsDims.push_back(b.lhs ? b.size : 1);
    rhsDims.push_back(b.rhs ? b.size : 1);
    outDims.push_back(b.size);
    lhsStrides.push_back(b.lhs ? b.lhs : problem.m * problem.k);
    rhsStrides.push_back(b.rhs ? b.rhs : problem.k * problem.n);
    outStrides.push_back(b.out);
  }
  auto addMatrix = [](memory::dims &dims, memory::dims &strides, int64_t rows, int64_t columns,
                      int64_t rowStride, int64_t columnStride) {
    dims.insert(dims.end(), {rows, columns});
    strides.insert(strides.end(), {rowStride, columnStride});
  };
  addMatrix(lhsDims, lhsStrides, problem.m, problem.k, problem.lhsM, problem.lhsK);
  addMatrix(rhsDims, rhsStrides, problem.k, problem.n, problem.rhsK, problem.rhsN);
  addMatrix(outDims, outStrides, problem.m, problem.n, problem.outM, problem.outN);
  try {
    memory::desc lhs(lhsDims, memory::data_type::f32, lhsStrides),
        rhs(rhsDims, memory::data_type::f32, rhsStrides),
        out(outDims, memory::data_type::f32, outStrides), bias;
    if (problem.hasBias) {
      memory::dims biasDims(outDims.size(), 1), biasStrides(outDims.size(), problem.n);
      biasDims.back() = problem.n;
      biasStrides.back() = 1;
      bias = memory::desc(biasDims, memory::data_type::f32, biasStrides);
    }
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (problem.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
    auto operation = problem.hasBias ? dnnl::matmul::desc(lhs, rhs, bias, out)
                                     : dnnl::matmul::desc(lhs, rhs, out);
    dnnl::matmul::primitive_desc candidate(operation, attributes, cpuEngine());
    name = candidate.impl_info_str();
    if (name.compare(0, 3, "brg") != 0)
      return;
    scratch = static_cast<int64_t>(candidate.scratchpad_desc().get_size());
    library = candidate;
  } catch (const dnnl::error &) {
    // oneDNN does not know the strides; the strided kernel does.
  }
}

void Matmul::prepare() {
  if (!library)
    return;
  withLibrary(what, [&] {
    std::vector<std::pair<int, dnnl::memory::desc>> arguments = {
        {DNNL_ARG_SRC, library->src_desc()},
        {DNNL_ARG_WEIGHTS, library->weights_desc()},
        {DNNL_ARG_DST, library->dst_desc()},
        {DNNL_ARG_SCRATCHPAD, library->scratchpad_desc()}};
    if (problem.hasBias)
      arguments.push_back({DNNL_ARG_BIAS, library->bias_desc()});
    primitive = BoundPrimitive(dnnl::matmul(*library), arguments);
  });
}

void Matmul::run(const void *lhs, const void *rhs, const void *bias, void *out, void *scratchData) {
  if (problem.batchCount() == 0)
    return;
  if (problem.hasBias && !bias)
    fail(what, " needs a bias and got none");
  if (scratch && !scratchData)
    fail(what, " needs ", scratch, " bytes of scratch memory and got none");
  if (swapped)
    std::swap(lhs, rhs);
  if (!library)
    return gemm(problem, threads, cpuLevel, static_cast<const float *>(lhs),
                static_cast<const float *>(rhs), static_cast<const float *>(bias),
                static_cast<float *>(out), scratchData);
  void *pointers[] = {const_cast<void *>(lhs), const_cast<void *>(rhs), out, scratchData,
                      const_cast<void *>(bias)};
  primitive.run(what.c_str(), pointers);
}

} // namespace galvatron_rt
