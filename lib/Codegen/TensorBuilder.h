//===- TensorBuilder.h - Builds small nn ops briefly ----------------------===//

#ifndef GALVATRON_LIB_CODEGEN_TENSORBUILDER_H
#define GALVATRON_LIB_CODEGEN_TENSORBUILDER_H

#include "dialects/NN/NN.h"

namespace galvatron {

/// Builds elementwise ops, reductions and broadcasts at one location.
class TensorBuilder {
public:
  TensorBuilder(mlir::OpBuilder &builder, mlir::Location loc) : b(builder), loc(loc) {}
  TensorBuilder(mlir::PatternRewriter &rewriter, mlir::Operation *op) : b(rewriter), loc(op->getLoc()) {}

  template <typename Op> mlir::Value unary(mlir::Value x) { return b.create<Op>(loc, x.getType(), x); }
  template <typename Op> mlir::Value binary(mlir::Value x, mlir::Value y) {
    return b.create<Op>(loc, x.getType(), x, y);
  }
  mlir::Value add(mlir::Value x, mlir::Value y) { return binary<nn::AddOp>(x, y); }
  mlir::Value sub(mlir::Value x, mlir::Value y) { return binary<nn::SubOp>(x, y); }
  mlir::Value mul(mlir::Value x, mlir::Value y) { return binary<nn::MulOp>(x, y); }
  mlir::Value div(mlir::Value x, mlir::Value y) { return binary<nn::DivOp>(x, y); }
  mlir::Value mul(mlir::Value x, double c) { return c == 1.0 ? x : mul(x, splat(x, c)); }
  mlir::Value add(mlir::Value x, double c) { return add(x, splat(x, c)); }
  mlir::Value exp(mlir::Value x) { return unary<nn::ExpOp>(x); }
  mlir::Value log(mlir::Value x) { return unary<nn::LogOp>(x); }
  mlir::Value tanh(mlir::Value x) { return unary<nn::TanhOp>(x); }
  mlir::Value sqrt(mlir::Value x) { return unary<nn::SqrtOp>(x); }
  mlir::Value rsqrt(mlir::Value x) { return unary<nn::RsqrtOp>(x); }
  mlir::Value reciprocal(mlir::Value x) { return unary<nn::ReciprocalOp>(x); }
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y) {
    return b.create<nn::SelectOp>(loc, x.getType(), condition, x, y);
  }
  mlir::Value compare(nn::Predicate predicate, mlir::Value x, mlir::Value y) {
    return b.create<nn::CompareOp>(loc, predicate, x, y);
  }
  mlir::Value both(mlir::Value x, mlir::Value y) { return x && y ? binary<nn::AndOp>(x, y) : (x ? x : y); }

  /// A constant of the type of `like`.
  mlir::Value splat(mlir::Value like, double value) {
    return nn::createSplat(b, loc, nn::tensorType(like), value);
  }
  mlir::Value iota(llvm::ArrayRef<int64_t> shape, int64_t dim) {
    return b.create<nn::IotaOp>(loc, mlir::RankedTensorType::get(shape, b.getI64Type()), uint64_t(dim));
  }
  mlir::Value reduce(nn::ReduceKind kind, mlir::Value x, llvm::ArrayRef<int64_t> dims) {
    return b.create<nn::ReduceOp>(loc, kind, x, b.getDenseI64ArrayAttr(dims));
  }
  mlir::Value sum(mlir::Value x, llvm::ArrayRef<int64_t> dims) { return reduce(nn::ReduceKind::Sum, x, dims); }
  mlir::Value max(mlir::Value x, llvm::ArrayRef<int64_t> dims) { return reduce(nn::ReduceKind::Max, x, dims); }

  /// Repeats `x`, whose dimension i is dimension `dims[i]` of the result.
  mlir::Value broadcast(mlir::Value x, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> dims) {
    auto type = mlir::RankedTensorType::get(shape, nn::tensorType(x).getElementType());
    return type == x.getType() ? x : b.create<nn::BroadcastOp>(loc, type, x, dims).getResult();
  }
  /// Repeats what is left after reducing `dims` of `like`.
  mlir::Value broadcastBack(mlir::Value reduced, mlir::Value like, llvm::ArrayRef<int64_t> dims) {
    return nn::broadcastBack(b, loc, reduced, nn::tensorType(like), dims);
  }
  mlir::Value reshape(mlir::Value x, llvm::ArrayRef<int64_t> shape) {
    auto type = mlir::RankedTensorType::get(shape, nn::tensorType(x).getElementType());
    return type == x.getType() ? x : b.create<nn::ReshapeOp>(loc, type, x).getResult();
  }
  mlir::Value contract(mlir::Value x, mlir::Value y, llvm::StringRef subscripts) {
    return b.create<nn::ContractOp>(loc, x, y, b.getStringAttr(subscripts));
  }

  mlir::OpBuilder &b;
  mlir::Location loc;
};

} // namespace galvatron

#endif
