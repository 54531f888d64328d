//===- Importer.cpp - Walks an ONNX graph and calls the op importers ------===//
//
// Every problem is reported, with the name of the node, before the import fails:
// a node with an error poisons its outputs, and what needs them is passed over
// in silence.
//
//===----------------------------------------------------------------------===//

#include "Importer.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/StringSet.h"

using namespace llvm;
using namespace mlir;

namespace galvatron {

const OpImporter *findOp(StringRef name) {
  static const StringMap<const OpImporter *> table = [] {
    StringMap<const OpImporter *> map;
    for (ArrayRef<OpImporter> ops : {elementwiseOps(), activationOps(), constantOps(), conversionOps(), shapeOps(), indexOps(), scatterOps(), linearOps(), lossOps(), windowOps(), normOps(),
                                     attentionOps(), reduceOps(), controlOps()})
      for (const OpImporter &op : ops)
        map[op.name] = &op;
    return map;
  }();
  return table.lookup(name);
}

static constexpr int64_t maxNodes = 4000000;
static constexpr int maxFunctionDepth = 64;

static bool isDefaultDomain(StringRef domain) { return domain.empty() || domain == "ai.onnx"; }

static std::string nodeName(const onnx::NodeProto &node, const Scope &scope) {
  std::string name = node.name();
  if (name.empty())
    name = node.output_size() ? node.output(0) : node.op_type();
  return scope.prefix + name;
}

// Checks of the whole file ---------------------------------------------------

LogicalResult Importer::checkVersions() {
  int64_t opset = model.opset();
  if (opset < minOpset || opset > maxOpset)
    return emitError(UnknownLoc::get(context))
           << "the model uses opset " << opset << "; opsets " << minOpset << " to " << maxOpset << " are supported";
  return success();
}

/// What --shapes and --loss name is there. A misspelt name is the cause of whatever else would be wrong.
LogicalResult Importer::checkOptions() {
  std::vector<std::string> inputs, outputs;
  for (const onnx::ValueInfoProto &input : model.graph().input())
    if (!model.initializer(input.name()))
      inputs.push_back(input.name());
  for (const onnx::ValueInfoProto &output : model.graph().output())
    outputs.push_back(output.name());
  bool ok = true;
  auto check = [&](StringRef flag, StringRef name, StringRef what, const std::vector<std::string> &names) {
    if (is_contained(names, name))
      return;
    InFlightDiagnostic d = emitError(UnknownLoc::get(context))
                           << flag << " names '" << name << "', which is no " << what << "; the " << what << "s are ";
    interleaveComma(names, d, [&](const std::string &known) { d << "'" << known << "'"; });
    ok = false;
  };
  std::vector<StringRef> given;
  for (const auto &[name, dims] : options.shapes)
    given.push_back(name);
  llvm::sort(given);
  for (StringRef name : given)
    check("--shapes", name, "input", inputs);
  if (!options.lossOutput.empty())
    check("--loss", options.lossOutput, "output", outputs);
  return success(ok);
}

/// Names are defined once, before they are used, and not in circles.
LogicalResult Importer::checkNames() {
  bool ok = true;
  const onnx::GraphProto &graph = model.graph();
  StringMap<const onnx::NodeProto *> producers;
  llvm::StringSet<> given;
  for (const onnx::ValueInfoProto &input : graph.input())
    if (!given.insert(input.name()).second) {
      emitError(onnxLocation(context, OnnxName::Input, input.name())) << "is defined more than once";
      ok = false;
    }
  for (const onnx::TensorProto &tensor : graph.initializer())
    given.insert(tensor.name());
  Scope top;
  for (const onnx::NodeProto &node : graph.node())
    for (const std::string &output : node.output())
      if (!output.empty() && (given.contains(output) || !producers.try_emplace(output, &node).second)) {
        emitError(onnxLocation(context, OnnxName::Node, nodeName(node, top)))
            << "value '" << output << "' is defined more than once";
        ok = false;
      }
  for (const onnx::NodeProto &node : graph.node())
    for (const std::string &input : node.input())
      if (!input.empty() && !given.contains(input) && !producers.contains(input)) {
        InFlightDiagnostic d = emitError(onnxLocation(context, OnnxName::Node, nodeName(node, top)))
                               << "input '" << input << "' is not defined";
        // What torch.onnx.export(export_params=False) leaves behind.
        if (graph.initializer_size() == 0)
          d << "; the file holds no weights: was it exported with export_params=False?";
        ok = false;
      }
  if (!ok)
    return failure();
  // Kahn's algorithm; what is left over lies on a circle or behind one.
  llvm::DenseMap<const onnx::NodeProto *, int> waiting;
  StringMap<SmallVector<const onnx::NodeProto *>> users;
  SmallVector<const onnx::NodeProto *> ready;
  for (const onnx::NodeProto &node : graph.node()) {
    int count = 0;
    for (const std::string &input : node.input())
      if (producers.contains(input)) {
        users[input].push_back(&node);
        ++count;
      }
    waiting[&node] = count;
    if (count == 0)
      ready.push_back(&node);
  }
  int done = 0;
  while (!ready.empty()) {
    const onnx::NodeProto *node = ready.pop_back_val();
    ++done;
    for (const std::string &output : node->output())
      if (auto it = users.find(output); it != users.end())
        for (const onnx::NodeProto *user : it->second)
          if (--waiting[user] == 0)
            ready.push_back(user);
  }
  if (done == graph.node_size())
    return success();
  for (const onnx::NodeProto &node : graph.node())
    if (waiting[&node] > 0)
      return emitError(onnxLocation(context, OnnxName::Node, nodeName(node, top)))
             << "needs its own output: the graph has a cycle";
  return failure();
}

const onnx::FunctionProto *Importer::findFunction(const onnx::NodeProto &node) {
  for (const onnx::FunctionProto &function : model.proto.functions())
    if (function.name() == node.op_type() && function.domain() == node.domain() &&
        (function.overload().empty() || function.overload() == node.overload()))
      return &function;
  return nullptr;
}

void Importer::collectUnsupported(const onnx::NodeProto &node, const Scope &scope, llvm::StringSet<> &functions) {
  if (const onnx::FunctionProto *function = findFunction(node)) {
    if (!functions.insert(function->domain() + "::" + function->name()).second)
      return;
    if (scope.depth >= maxFunctionDepth) // refused where it is imported
      return;
    Scope inner;
    inner.depth = scope.depth + 1;
    inner.prefix = nodeName(node, scope) + "/";
    for (const onnx::NodeProto &part : function->node())
      collectUnsupported(part, inner, functions);
    return;
  }
  if (isDefaultDomain(node.domain()) && findOp(node.op_type()))
    return;
  ++unsupported;
  StringRef domain = isDefaultDomain(node.domain()) ? StringRef("ai.onnx") : StringRef(node.domain());
  emitError(onnxLocation(context, OnnxName::Node, nodeName(node, scope)))
      << "operator " << domain << "::" << node.op_type() << " (opset " << model.opset(node.domain())
      << ") is not supported";
}

LogicalResult Importer::checkSupported() {
  Scope top;
  llvm::StringSet<> functions;
  for (const onnx::NodeProto &node : model.graph().node())
    collectUnsupported(node, top, functions);
  if (unsupported)
    return emitError(UnknownLoc::get(context)) << unsupported << " unsupported operator" << (unsupported == 1 ? "" : "s")
                                               << "; galvatron-translate --print-supported-ops lists what is supported";
  return success();
}

// Inputs and outputs ---------------------------------------------------------

static void printDims(InFlightDiagnostic &d, const onnx::TensorShapeProto &shape) {
  interleave(
      shape.dim(), [&](const auto &dim) {
        if (dim.has_dim_value())
          d << dim.dim_value();
        else
          d << (dim.dim_param().empty() ? "?" : dim.dim_param());
      },
      [&] { d << "x"; });
}

LogicalResult Importer::importInputs(Scope &scope) {
  bool ok = true;
  StringMap<std::pair<int64_t, std::string>> params; // free dimension -> its size and where that was said
  auto func = cast<func::FuncOp>(function);
  for (const onnx::ValueInfoProto &input : model.graph().input()) {
    if (model.initializer(input.name()))
      continue; // older files list initializers as inputs
    Location loc = onnxLocation(context, OnnxName::Input, input.name());
    scope.values[input.name()] = ImportValue::poison();
    if (!input.type().has_tensor_type() || !input.type().tensor_type().has_shape()) {
      InFlightDiagnostic d = emitError(loc) << (input.type().has_tensor_type() ? "has no shape" : "is not a tensor");
      ok = false;
      continue;
    }
    const onnx::TypeProto_Tensor &type = input.type().tensor_type();
    std::optional<ElementKind> element = elementKind(type.elem_type());
    if (!element) {
      emitError(loc) << "has element type " << dataTypeName(type.elem_type())
                     << "; wanted FLOAT, an integer or BOOL (only float32 models are supported)";
      ok = false;
      continue;
    }
    auto given = options.shapes.find(input.name());
    if (given != options.shapes.end() && static_cast<int>(given->second.size()) != type.shape().dim_size()) {
      InFlightDiagnostic d = emitError(loc) << "--shapes gives " << given->second.size() << " dimensions; the model declares ";
      printDims(d, type.shape());
      ok = false;
      continue;
    }
    Shape shape;
    bool complete = true;
    std::string free;
    int freeDims = 0;
    for (auto [i, dim] : enumerate(type.shape().dim())) {
      int64_t size = -1;
      if (given != options.shapes.end())
        size = given->second[i];
      if (dim.has_dim_value()) {
        if (size >= 0 && size != dim.dim_value()) {
          emitError(loc) << "--shapes gives " << size << " for dimension " << i << "; the model fixes it to " << dim.dim_value();
          complete = false;
        }
        size = dim.dim_value();
        if (size <= 0) {
          emitError(loc) << "dimension " << i << " has size " << size << "; wanted at least 1";
          complete = false;
        }
      } else if (size < 0) {
        free += (free.empty() ? "" : ", ") + std::to_string(i);
        if (!dim.dim_param().empty())
          free += " ('" + dim.dim_param() + "')";
        ++freeDims;
        complete = false;
      } else if (!dim.dim_param().empty()) {
        auto [it, isNew] = params.try_emplace(dim.dim_param(), std::make_pair(size, input.name()));
        if (!isNew && it->second.first != size) {
          emitError(loc) << "--shapes gives " << size << " for dimension " << i << " ('" << dim.dim_param() << "'), and "
                         << it->second.first << " for the same dimension in input '" << it->second.second << "'";
          complete = false;
        }
      }
      shape.push_back(size);
    }
    if (freeDims) {
      InFlightDiagnostic d = emitError(loc) << (freeDims == 1 ? "dimension " : "dimensions ") << free << (freeDims == 1 ? " is" : " are")
                                            << " free; say --shapes=" << input.name() << ":";
      printDims(d, type.shape());
      d << " with a number for each";
    }
    if (complete && !numElements(shape)) {
      emitError(loc) << "has more elements than 63 bits can count";
      complete = false;
    }
    if (!complete) {
      ok = false;
      continue;
    }
    func.insertArgument(func.getNumArguments(), emit.type(*element, shape),
                        DictionaryAttr::get(context, NamedAttribute(StringAttr::get(context, "nn.name"),
                                                                    StringAttr::get(context, input.name()))),
                        loc);
    scope.values[input.name()] = ImportValue::tensorOf(func.getArguments().back());
  }
  return success(ok);
}

LogicalResult Importer::importOutputs(Scope &scope) {
  bool ok = true;
  auto func = cast<func::FuncOp>(function);
  SmallVector<Value> results;
  SmallVector<Attribute> attributes;
  llvm::StringSet<> seen;
  for (const onnx::ValueInfoProto &output : model.graph().output()) {
    Location loc = onnxLocation(context, OnnxName::Output, output.name());
    ImportValue value = lookup(scope, output.name());
    if (value.kind == ImportValue::Poison)
      continue;
    if (value.kind == ImportValue::Absent || value.kind == ImportValue::Sequence) {
      emitError(loc) << (value.kind == ImportValue::Absent ? "is not defined" : "is a sequence");
      ok = false;
      continue;
    }
    if (!seen.insert(output.name()).second) {
      emitError(loc) << "is listed more than once";
      ok = false;
      continue;
    }
    const onnx::TensorShapeProto &declared = output.type().tensor_type().shape();
    bool agrees = !output.type().tensor_type().has_shape() || declared.dim_size() == value.rank();
    for (int i = 0; agrees && i < declared.dim_size() && output.type().tensor_type().has_shape(); ++i)
      agrees = !declared.dim(i).has_dim_value() || declared.dim(i).dim_value() == value.shape[i];
    if (!agrees) {
      InFlightDiagnostic d = emitError(loc) << "is declared as ";
      printDims(d, declared);
      d << ", but computed as ";
      interleave(value.shape, d, "x");
      ok = false;
      continue;
    }
    emit.loc = loc;
    results.push_back(emit.materialize(value));
    attributes.push_back(DictionaryAttr::get(
        context, NamedAttribute(StringAttr::get(context, "nn.name"), StringAttr::get(context, output.name()))));
  }
  emit.builder.create<func::ReturnOp>(UnknownLoc::get(context), results);
  func.setType(FunctionType::get(context, func.getArgumentTypes(), ValueRange(results).getTypes()));
  func.setAllResultAttrs(ArrayAttr::get(context, attributes));
  return success(ok);
}

// Nodes ----------------------------------------------------------------------

ImportValue Importer::lookup(Scope &scope, StringRef name) {
  if (name.empty())
    return {};
  for (Scope *s = &scope; s; s = s->parent)
    if (auto it = s->values.find(name); it != s->values.end())
      return it->second;
  // Function bodies see only their inputs.
  for (Scope *s = &scope; s; s = s->parent)
    if (!s->parent && s->prefix.empty() && model.initializer(name))
      return importInitializer(name);
  return {};
}

LogicalResult Importer::importNodes(const google::protobuf::RepeatedPtrField<onnx::NodeProto> &nodes,
                                    ArrayRef<std::string> outputs, Scope &scope) {
  // Nodes that nothing needs are not looked at. Nodes may stand in any order; a stack instead of recursion.
  StringMap<const onnx::NodeProto *> producers;
  for (const onnx::NodeProto &node : nodes)
    for (const std::string &output : node.output())
      producers.try_emplace(output, &node);
  llvm::DenseSet<const onnx::NodeProto *> needed;
  SmallVector<std::string> stack(outputs.begin(), outputs.end());
  auto need = [&](const onnx::NodeProto &node) {
    if (!needed.insert(&node).second)
      return;
    stack.append(node.input().begin(), node.input().end());
    // Subgraphs name values of the graph around them.
    SmallVector<const onnx::GraphProto *> graphs;
    for (const onnx::AttributeProto &attribute : node.attribute())
      if (attribute.has_g())
        graphs.push_back(&attribute.g());
    while (!graphs.empty()) {
      const onnx::GraphProto *graph = graphs.pop_back_val();
      for (const onnx::ValueInfoProto &output : graph->output())
        stack.push_back(output.name());
      for (const onnx::NodeProto &inner : graph->node()) {
        stack.append(inner.input().begin(), inner.input().end());
        for (const onnx::AttributeProto &attribute : inner.attribute())
          if (attribute.has_g())
            graphs.push_back(&attribute.g());
      }
    }
  };
  while (!stack.empty())
    if (const onnx::NodeProto *node = producers.lookup(stack.pop_back_val()))
      need(*node);

  bool ok = true;
  // Usually one round: files are sorted. A round that imports nothing would mean a cycle (function bodies).
  SmallVector<const onnx::NodeProto *> left;
  for (const onnx::NodeProto &node : nodes)
    if (needed.contains(&node))
      left.push_back(&node);
  llvm::DenseSet<const onnx::NodeProto *> done;
  auto isReady = [&](const onnx::NodeProto *node) {
    return all_of(node->input(), [&](const std::string &input) {
      const onnx::NodeProto *producer = producers.lookup(input);
      return !producer || done.contains(producer) || scope.values.contains(input);
    });
  };
  while (!left.empty()) {
    SmallVector<const onnx::NodeProto *> later;
    for (const onnx::NodeProto *node : left) {
      if (!isReady(node)) {
        later.push_back(node);
        continue;
      }
      ok &= succeeded(importNode(*node, scope));
      done.insert(node);
    }
    if (later.size() == left.size())
      return emitError(onnxLocation(context, OnnxName::Node, nodeName(*later[0], scope)))
             << "needs its own output: the graph has a cycle";
    left = std::move(later);
  }
  return success(ok);
}

LogicalResult Importer::importNode(const onnx::NodeProto &node, Scope &scope) {
  // Functions that call each other can unfold without end.
  if (++imported > maxNodes)
    return imported > maxNodes + 1 ? failure()
                                   : LogicalResult(emitError(onnxLocation(context, OnnxName::Node, nodeName(node, scope)))
                                                   << "the model unfolds to more than " << maxNodes << " nodes");
  Location loc = onnxLocation(context, OnnxName::Node, nodeName(node, scope));
  for (const std::string &output : node.output())
    if (!output.empty())
      scope.values[output] = ImportValue::poison();
  emit.loc = loc;
  if (const onnx::FunctionProto *function = findFunction(node))
    return importFunction(*function, node, scope);
  const OpImporter *op = isDefaultDomain(node.domain()) ? findOp(node.op_type()) : nullptr;
  if (!op)
    return emitError(loc) << "operator " << (isDefaultDomain(node.domain()) ? "ai.onnx" : node.domain())
                          << "::" << node.op_type() << " (opset " << model.opset(node.domain())
                          << ") is not supported";
  if (scope.opset < op->since)
    return emitError(loc) << node.op_type() << ": exists from opset " << op->since << " on; the model uses opset "
                          << scope.opset;
  NodeContext context(*this, node, scope, loc);
  for (auto [i, input] : enumerate(context.inputs)) {
    if (input.kind == ImportValue::Poison)
      return success(); // reported where it arose
    if (input.kind == ImportValue::Absent && !node.input(i).empty())
      return context.error() << "input '" << node.input(i) << "' is not defined";
    if (input.kind == ImportValue::Sequence && !op->name.contains("Sequence") && op->name != "Identity")
      return context.error() << "input " << i << " is a sequence; wanted a tensor";
  }
  emit.loc = loc;
  bool imported = succeeded(op->import(context));
  if (failed(context.finish()) || !imported)
    return failure();
  for (auto [i, output] : enumerate(node.output()))
    if (!output.empty()) {
      if (context.outputs[i].kind == ImportValue::Absent)
        return context.error() << "output " << i << " is not supported";
      if (context.outputs[i].kind != ImportValue::Sequence && !numElements(context.outputs[i].shape))
        return context.error() << "output " << i << " has more elements than 63 bits can count";
      scope.values[output] = context.outputs[i];
    }
  return success();
}

LogicalResult Importer::importFunction(const onnx::FunctionProto &function, const onnx::NodeProto &node,
                                       Scope &scope) {
  Location loc = emit.loc;
  if (scope.depth >= maxFunctionDepth)
    return emitError(loc) << "functions call each other more than " << maxFunctionDepth << " levels deep";
  Scope inner;
  inner.depth = scope.depth + 1;
  inner.prefix = nodeName(node, scope) + "/";
  inner.opset = scope.opset;
  for (const onnx::OperatorSetIdProto &set : function.opset_import())
    if (isDefaultDomain(set.domain()))
      inner.opset = set.version();
  if (node.input_size() > function.input_size() || node.output_size() > function.output_size())
    return emitError(loc) << "calls function '" << function.name() << "' with " << node.input_size() << " inputs and "
                          << node.output_size() << " outputs; it has " << function.input_size() << " and "
                          << function.output_size();
  for (auto [i, name] : enumerate(function.input())) {
    ImportValue value = static_cast<int>(i) < node.input_size() ? lookup(scope, node.input(i)) : ImportValue();
    if (value.kind == ImportValue::Poison)
      return success();
    inner.values[name] = value;
  }
  for (const onnx::AttributeProto &attribute : function.attribute_proto())
    inner.attributes[attribute.name()] = &attribute;
  for (const onnx::AttributeProto &attribute : node.attribute())
    inner.attributes[attribute.name()] =
        attribute.ref_attr_name().empty() ? &attribute : scope.attributes.lookup(attribute.ref_attr_name());
  std::vector<std::string> outputs(function.output().begin(), function.output().end());
  if (failed(importNodes(function.node(), outputs, inner)))
    return failure();
  for (auto [i, name] : enumerate(node.output()))
    if (!name.empty())
      scope.values[name] = lookup(inner, function.output(i));
  return success();
}

// The whole ------------------------------------------------------------------

/// Drops ops that only shapes were asked of, and parameters that nothing reads.
void Importer::removeDead() {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(*emit.body)))
    if (isOpTriviallyDead(&op))
      op.erase();
  llvm::StringSet<> read;
  emit.body->walk([&](nn::GetParameterOp get) { read.insert(get.getParameter()); });
  for (nn::ParameterOp parameter : llvm::make_early_inc_range(module->getOps<nn::ParameterOp>()))
    if (!read.contains(parameter.getSymName())) {
      parameters.forget(parameter.getSaved());
      parameter.erase();
    }
}

OwningOpRef<ModuleOp> Importer::run() {
  context->loadDialect<nn::NNDialect, func::FuncDialect>();
  if (failed(checkOptions()))
    return nullptr;
  bool ok = succeeded(checkVersions());
  ok &= succeeded(model.checkInitializers(!options.randomWeights, options.requireWeights && !options.randomWeights));
  ok &= succeeded(checkNames());
  ok = ok && succeeded(checkSupported());
  if (!ok || failed(parameters.analyze()))
    return nullptr;

  module = ModuleOp::create(UnknownLoc::get(context));
  emit.builder.setInsertionPointToEnd(module->getBody());
  auto func = emit.builder.create<func::FuncOp>(UnknownLoc::get(context), "forward",
                                                FunctionType::get(context, {}, {}));
  function = func;
  emit.body = func.addEntryBlock();
  emit.builder.setInsertionPointToEnd(emit.body);

  Scope scope;
  scope.opset = model.opset();
  if (failed(importInputs(scope)))
    return nullptr;
  std::vector<std::string> outputs;
  for (const onnx::ValueInfoProto &output : model.graph().output())
    outputs.push_back(output.name());
  if (outputs.empty()) {
    emitError(UnknownLoc::get(context)) << "the graph has no outputs";
    return nullptr;
  }
  ok = succeeded(importNodes(model.graph().node(), outputs, scope));
  ok &= succeeded(importOutputs(scope));
  if (!ok && !shortSlices.empty() && !options.shapes.empty())
    emitRemark(shortSlices.front().loc) << "takes " << shortSlices.front().asked << " of a dimension of size "
                                        << shortSlices.front().size << "; is a sequence in --shapes longer than the model allows?";
  if (!ok || failedInitializer)
    return nullptr;
  removeDead();
  if (failed(verify(*module)))
    return nullptr;
  if (model.weightsMissing())
    emitRemark(UnknownLoc::get(context)) << "the weights file '" << model.missingFiles().front()
                                         << "' is not there; everything but a program can be made without it";
  if (options.listParameters) {
    std::string text;
    raw_string_ostream os(text);
    parameters.print(os);
    emitRemark(UnknownLoc::get(context)) << os.str();
  }
  return std::move(module);
}

static OwningOpRef<ModuleOp> importModel(std::unique_ptr<OnnxModel> model, const ImportOptions &options,
                                         MLIRContext *context) {
  if (!model)
    return nullptr;
  return Importer(*model, options, context).run();
}

OwningOpRef<ModuleOp> importOnnx(StringRef path, const ImportOptions &options, MLIRContext *context) {
  return importModel(OnnxModel::load(path, context), options, context);
}

OwningOpRef<ModuleOp> importOnnxBuffer(StringRef bytes, StringRef path, const ImportOptions &options,
                                       MLIRContext *context) {
  return importModel(OnnxModel::parse(bytes, path, context), options, context);
}

} // namespace galvatron
