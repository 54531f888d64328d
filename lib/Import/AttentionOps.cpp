//===- AttentionOps.cpp - Attention and rotary embedding ------------------===//

#include "Importer.h"
#include <cmath>

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

/// [batch, heads, sequence, d] or [batch, sequence, heads * d] as [batch, sequence, heads, d].
FailureOr<Value> asHeads(NodeContext &node, size_t i, std::optional<int64_t> heads) {
  const Shape &s = node.inputs[i].shape;
  Value x = node.tensor(i);
  if (s.size() == 4)
    return node.emit.transpose(x, {0, 2, 1, 3});
  if (!heads || *heads < 1 || s[2] % *heads) {
    node.error() << "input " << i << " of width " << s[2] << " does not split into " << heads.value_or(0) << " heads";
    return failure();
  }
  return node.emit.reshape(x, {s[0], s[1], *heads, s[2] / *heads});
}

struct AttentionMask {
  IntegerAttr lower, upper;
  Value bias;
};

/// What a conjunction says that attention can say itself: bounds on j - i. False if there is more.
bool readBand(const Conjunction &atoms, size_t rank, std::optional<int64_t> &lower, std::optional<int64_t> &upper) {
  for (const Atom &atom : atoms) {
    if (atom.kind != Atom::NonNegative || rank < 2)
      return false;
    for (size_t d = 0; d + 2 < rank; ++d)
      if (atom.expression.coefficients[d] != 0)
        return false;
    int64_t i = atom.expression.coefficients[rank - 2], j = atom.expression.coefficients[rank - 1];
    int64_t c = atom.expression.constant;
    if (i == 1 && j == -1)
      upper = upper ? std::min(*upper, c) : c;
    else if (i == -1 && j == 1)
      lower = lower ? std::max(*lower, -c) : -c;
    else
      return false;
  }
  return true;
}

FailureOr<AttentionMask> readMask(NodeContext &node, Shape full, int64_t kvHeads, bool causal) {
  AttentionMask mask;
  Emitter &emit = node.emit;
  std::optional<int64_t> lower, upper;
  if (causal)
    upper = 0;
  if (node.has(3)) {
    ImportValue value = node.inputs[3];
    if (value.element == ElementKind::I64) {
      node.error() << "the mask (input 3) has integer elements; wanted float or bool";
      return failure();
    }
    std::optional<Shape> joined = broadcastShapes(value.shape, full);
    if (!joined || *joined != full) {
      InFlightDiagnostic d = node.error() << "the mask (input 3) has shape [";
      interleaveComma(value.shape, d);
      d << "], which does not broadcast to [";
      interleaveComma(full, d);
      d << "]";
      return failure();
    }
    Shape shape = value.shape;
    shape.insert(shape.begin(), 4 - shape.size(), 1);
    value = emit.reshape(value, shape);
    std::optional<Conjunction> atoms = conditionOf(value);
    if (!atoms || shape[2] == 1 || shape[3] == 1 || !readBand(*atoms, 4, lower, upper)) {
      // A bias: 0 where the mask holds, minus infinity elsewhere.
      shape[2] = full[2];
      shape[3] = full[3];
      value = emit.broadcast(value, shape);
      Value bias = emit.materialize(value);
      if (value.element == ElementKind::I1) {
        RankedTensorType type = emit.type(ElementKind::F32, shape);
        bias = emit.make<nn::SelectOp>(bias, emit.number(type, 0), emit.number(type, -HUGE_VAL));
      }
      bool perHead = shape[1] != 1;
      mask.bias = emit.reshape(bias, {shape[0], perHead ? kvHeads : 1, perHead ? full[1] / kvHeads : 1, full[2], full[3]});
    }
  }
  if (lower)
    mask.lower = emit.builder.getI64IntegerAttr(*lower);
  if (upper)
    mask.upper = emit.builder.getI64IntegerAttr(*upper);
  return mask;
}

LogicalResult importAttention(NodeContext &node) {
  node.ignore("qk_matmul_output_mode");
  node.ignore("softmax_precision");
  std::optional<int64_t> qHeads = node.getInt("q_num_heads"), kvHeads = node.getInt("kv_num_heads");
  bool causal = node.getInt("is_causal", 0);
  float softcap = node.getFloat("softcap", 0);
  std::optional<float> scale = node.getFloat("scale");
  if (failed(node.expectInputs(3, 7)))
    return failure();
  for (size_t i = 0; i < 3; ++i)
    if (failed(node.expectElement(i, ElementKind::F32)))
      return failure();
  for (size_t i = 4; i < 7; ++i)
    if (node.has(i))
      return node.error() << "input " << i << " is not supported: caches (past_key, past_value, nonpad_kv_seqlen) are for inference";
  int64_t rank = node.inputs[0].rank();
  if ((rank != 3 && rank != 4) || node.inputs[1].rank() != rank || node.inputs[2].rank() != rank)
    return node.error() << "query, key and value have ranks " << rank << ", " << node.inputs[1].rank() << " and "
                        << node.inputs[2].rank() << "; wanted all 3 or all 4";
  for (size_t i = 0; i < 3; ++i)
    if (node.inputs[i].count() == 0)
      return node.error() << "input " << i << " is empty";
  FailureOr<Value> q = asHeads(node, 0, qHeads), k = asHeads(node, 1, kvHeads), v = asHeads(node, 2, kvHeads);
  if (failed(q) || failed(k) || failed(v))
    return failure();
  ArrayRef<int64_t> qs = nn::tensorType(*q).getShape(), ks = nn::tensorType(*k).getShape(), vs = nn::tensorType(*v).getShape();
  if (qs[0] != ks[0] || qs[0] != vs[0] || ks[1] != vs[1] || ks[2] != vs[2] || qs[3] != ks[3] || qs[2] % ks[2]) {
    InFlightDiagnostic d = node.error() << "query [";
    interleaveComma(qs, d);
    d << "], key [";
    interleaveComma(ks, d);
    d << "] and value [";
    interleaveComma(vs, d);
    d << "] (batch, sequence, heads, width) do not agree";
    return failure();
  }
  int64_t groups = qs[2] / ks[2];
  FailureOr<AttentionMask> mask = readMask(node, {qs[0], qs[2], qs[1], ks[1]}, ks[2], causal);
  if (failed(mask))
    return failure();
  Emitter &emit = node.emit;
  Value query = emit.reshape(*q, {qs[0], qs[1], ks[2], groups, qs[3]});
  double factor = scale.value_or(static_cast<float>(1 / std::sqrt(static_cast<double>(qs[3]))));
  auto attention = emit.builder.create<nn::AttentionOp>(
      emit.loc, emit.type(ElementKind::F32, {qs[0], qs[1], ks[2], groups, vs[3]}),
      emit.type(ElementKind::F32, {qs[0], ks[2], groups, qs[1], ks[1]}), query, *k, *v, Value(), mask->bias,
      emit.builder.getF64FloatAttr(factor), mask->lower, mask->upper, emit.builder.getF64FloatAttr(softcap), UnitAttr());
  Value y = emit.reshape(attention.getResult(), {qs[0], qs[1], qs[2], vs[3]});
  return node.result(rank == 4 ? emit.transpose(y, {0, 2, 1, 3}) : emit.reshape(y, {qs[0], qs[1], qs[2] * vs[3]}));
}

LogicalResult importRotary(NodeContext &node) {
  bool interleaved = node.getInt("interleaved", 0);
  std::optional<int64_t> heads = node.getInt("num_heads");
  int64_t width = node.getInt("rotary_embedding_dim", 0);
  if (failed(node.expectInputs(3, 4)))
    return failure();
  for (size_t i = 0; i < 3; ++i)
    if (failed(node.expectElement(i, ElementKind::F32)))
      return failure();
  Shape shape = node.inputs[0].shape;
  Emitter &emit = node.emit;
  if (shape.size() != 3 && shape.size() != 4)
    return node.error() << "has an input of rank " << shape.size() << "; wanted 3 or 4";
  Value x = node.tensor(0);
  int64_t sequence = shape.size() == 4 ? 2 : 1;
  if (shape.size() == 3) {
    FailureOr<Value> split = asHeads(node, 0, heads);
    if (failed(split))
      return failure();
    x = *split;
  }
  Shape s(nn::tensorType(x).getShape());
  if (width == 0)
    width = s[3];
  if (width < 2 || width % 2 || width > s[3])
    return node.error() << "rotary_embedding_dim = " << width << " does not fit heads of width " << s[3];
  // Tables: one row for each position, picked by position_ids if there are any.
  Value tables[2];
  for (size_t i = 0; i < 2; ++i) {
    const ImportValue &table = node.inputs[i + 1];
    if (node.has(3)) {
      if (table.rank() != 2 || failed(node.expectElement(3, ElementKind::I64)) || node.inputs[3].rank() != 2)
        return node.error() << "with position_ids [batch, sequence], the tables must be [positions, width / 2]";
      const ImportValue &ids = node.inputs[3];
      std::optional<Affine> row = affineOf(ids);
      std::optional<ImportValue> rows;
      if (row) { // known positions: a slice of the table
        Affine along = *row;
        along.coefficients.push_back(0);
        rows = emit.gather(table, {along, Affine::index(2, 3)}, {ids.shape[0], ids.shape[1], table.shape[1]});
      }
      tables[i] = rows ? emit.materialize(*rows) : emit.make<nn::EmbeddingOp>(node.tensor(i + 1), node.tensor(3), Value());
    } else {
      tables[i] = node.tensor(i + 1);
    }
    Shape t(nn::tensorType(tables[i]).getShape());
    if (t.empty())
      return node.error() << "input " << i + 1 << " is one number; wanted a table";
    if (t.size() == 3 && t[0] == 1 && s[0] != 1) {
      t.erase(t.begin());
      tables[i] = emit.reshape(tables[i], t);
    }
    if (t.back() > width / 2) { // a table for the whole head
      Shape sizes = t;
      sizes.back() = width / 2;
      tables[i] = emit.slice(tables[i], Shape(t.size(), 0), sizes, Shape(t.size(), 1));
      t = sizes;
    }
    Shape wanted = t.size() == 2 ? Shape{s[sequence], width / 2} : Shape{s[0], s[sequence], width / 2};
    if (t != wanted) {
      InFlightDiagnostic d = node.error() << "input " << i + 1 << " gives a table of [";
      interleaveComma(t, d);
      d << "]; wanted [";
      interleaveComma(wanted, d);
      d << "]";
      return failure();
    }
  }
  Shape zero(4, 0), one(4, 1), turned = s, rest = s, offset(4, 0);
  turned[3] = width;
  rest[3] = s[3] - width;
  offset[3] = width;
  UnitAttr unit = emit.builder.getUnitAttr();
  Value y = emit.make<nn::RotaryOp>(emit.slice(x, zero, turned, one), tables[0], tables[1],
                                    emit.builder.getI64IntegerAttr(sequence), interleaved ? unit : UnitAttr(), UnitAttr());
  if (rest[3] > 0)
    y = emit.concat({y, emit.slice(x, offset, rest, one)}, 3);
  return node.result(emit.reshape(y, shape));
}

} // namespace

static const OpImporter table[] = {
    {"Attention", 23, importAttention, "first output only, no caches"},
    {"RotaryEmbedding", 23, importRotary},
};

ArrayRef<OpImporter> attentionOps() { return table; }

} // namespace galvatron
