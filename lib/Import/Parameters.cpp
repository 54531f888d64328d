//===- Parameters.cpp - Which initializer is which PyTorch parameter ------===//

#include "Parameters.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/GlobPattern.h"
#include "llvm/Support/raw_ostream.h"
#include <map>

using namespace llvm;
using namespace mlir;

namespace galvatron {

static constexpr StringLiteral kindKey = "pkg.torch.export.graph_signature.InputSpec.kind";
static constexpr StringLiteral foldedKey = "pkg.onnxscript.optimizer.folded_from";
static constexpr StringLiteral signatureKey = "pkg.torch.export.ExportedProgram.graph_signature";
static constexpr StringLiteral scopesKey = "pkg.torch.onnx.name_scopes";

Shape ParameterInfo::savedShape() const {
  Shape shape(tensor->dims().begin(), tensor->dims().end());
  if (transposed)
    std::reverse(shape.begin(), shape.end());
  return shape;
}

/// Python's `['a', 'b']`.
static std::vector<std::string> parseList(StringRef text) {
  std::vector<std::string> items;
  while (true) {
    size_t begin = text.find_first_of("'\"");
    if (begin == StringRef::npos)
      return items;
    size_t end = text.find(text[begin], begin + 1);
    if (end == StringRef::npos)
      return items;
    items.push_back(text.slice(begin + 1, end).str());
    text = text.drop_front(end + 1);
  }
}

/// `a.b.weight` -> `a.b`, `weight`.
static std::pair<StringRef, StringRef> splitModule(StringRef name) {
  size_t dot = name.rfind('.');
  return dot == StringRef::npos ? std::make_pair(StringRef(), name) : std::make_pair(name.take_front(dot), name.substr(dot + 1));
}

void Parameters::readMetadata() {
  auto read = [&](StringRef name, const auto &proto) {
    if (StringRef kind = metadata(proto, kindKey); !kind.empty()) {
      kinds[name] = kind.str();
      hasMetadata = true;
    }
    if (StringRef list = metadata(proto, foldedKey); !list.empty()) {
      folded[name] = parseList(list);
      hasMetadata = true;
    }
  };
  for (const onnx::ValueInfoProto &info : model.graph().value_info())
    read(info.name(), info);
  for (const onnx::TensorProto &tensor : model.graph().initializer())
    read(tensor.name(), tensor);
  // Lines like: p_lm_head_weight: PARAMETER target='lm_head.weight'
  SmallVector<StringRef> lines;
  StringRef text = metadata(model.graph(), signatureKey);
  (text.empty() ? metadata(model.proto, signatureKey) : text).split(lines, '\n');
  for (StringRef line : lines) {
    auto [before, target] = line.split(" PARAMETER target='");
    if (target.consume_back("'") && signatureSet.insert(target).second)
      signature.push_back(target.str());
  }
}

/// Whether a name that something was folded from is a parameter's.
static bool looksLikeParameter(StringRef name, const llvm::StringSet<> &signature, const StringMap<std::string> &kinds) {
  if (signature.contains(name))
    return true;
  if (auto it = kinds.find(name); it != kinds.end())
    return it->second == "PARAMETER";
  // Without a list: parameters of modules have dots in their names, values of the graph have none.
  return signature.empty() && (name.ends_with(".weight") || name.ends_with(".bias"));
}

void Parameters::warnFolded(const ParameterInfo &info, ArrayRef<std::string> origins) {
  for (const std::string &origin : origins)
    if (looksLikeParameter(origin, signatureSet, kinds))
      emitWarning(onnxLocation(model.context, OnnxName::Initializer, info.tensor->name()))
          << "parameter '" << origin << "' does not train here: the exporter folded it into this constant";
}

void Parameters::classify() {
  // Running statistics of a batch normalization are no parameters, whatever the file says or leaves out. And a table
  // whose rows are looked up is what it was, if a fold made it: one that does nothing, such as a transposition to itself.
  llvm::StringSet<> statistics, lookedUp;
  for (const onnx::NodeProto &node : model.graph().node()) {
    if (node.op_type() == "BatchNormalization")
      for (int i = 3; i < node.input_size(); ++i)
        statistics.insert(node.input(i));
    if ((node.op_type() == "Gather" || node.op_type() == "GatherND") && node.input_size() > 0)
      lookedUp.insert(node.input(0));
  }
  for (const onnx::TensorProto &tensor : model.graph().initializer()) {
    bool isFloat = tensor.data_type() == onnx::TensorProto::FLOAT || tensor.data_type() == onnx::TensorProto::FLOAT16 ||
                   tensor.data_type() == onnx::TensorProto::BFLOAT16 || tensor.data_type() == onnx::TensorProto::DOUBLE;
    if (!isFloat)
      continue;
    auto info = std::make_unique<ParameterInfo>();
    info->tensor = &tensor;
    info->saved = tensor.name();
    auto kind = kinds.find(tensor.name());
    auto origin = folded.find(tensor.name());
    if (kind != kinds.end()) {
      if (kind->second == "PARAMETER")
        info->kind = nn::ParameterKind::Trainable;
    } else if (origin != folded.end()) {
      ArrayRef<std::string> origins = origin->second;
      if (origins.size() == 1 && tensor.dims_size() == 2 && looksLikeParameter(origins[0], signatureSet, kinds)) {
        info->kind = nn::ParameterKind::Trainable;
        info->saved = origins[0];
        info->transposed = !lookedUp.contains(tensor.name());
      } else {
        warnFolded(*info, origins);
      }
    } else if (!hasMetadata && tensor.dims_size() >= 1) {
      info->kind = nn::ParameterKind::Trainable;
    } else if (signatureSet.contains(tensor.name())) {
      // Where the file says of others that they are parameters, this one was one, and keeps the name alone: a
      // convolution's weight that a normalization was folded into.
      if (kinds.empty())
        info->kind = nn::ParameterKind::Trainable;
      else
        warnFolded(*info, tensor.name());
    }
    if (statistics.contains(tensor.name()))
      info->kind = nn::ParameterKind::Constant;
    table[tensor.name()] = std::move(info);
  }
}

ParameterInfo *Parameters::find(StringRef initializer) {
  auto it = table.find(initializer);
  return it == table.end() ? nullptr : it->second.get();
}

/// Records who uses each initializer, seeing through nodes that only move it.
void Parameters::findUses() {
  StringMap<StringRef> origin;
  for (const auto &[name, info] : table)
    origin[name] = name;
  for (const onnx::NodeProto &node : model.graph().node())
    for (auto [i, input] : enumerate(node.input())) {
      auto it = origin.find(input);
      if (it == origin.end())
        continue;
      StringRef name = it->second;
      uses[name].push_back({&node, static_cast<unsigned>(i)});
      StringRef op = node.op_type();
      if (i == 0 && node.output_size() == 1 && (op == "Transpose" || op == "Identity" || op == "Cast" || op == "Reshape"))
        origin[node.output(0)] = name;
    }
  for (auto &[name, info] : table) {
    if (!info->trains())
      continue;
    bool isScale = info->tensor->dims_size() == 1 && StringRef(info->saved).ends_with("weight");
    for (const Use &use : uses[name]) {
      StringRef op = use.node->op_type();
      isScale |= use.input == 1 && op.ends_with("Normalization");
      isScale |= info->tensor->dims_size() == 1 && op == "Mul";
    }
    info->init = isScale                            ? nn::InitKind::One
                 : info->tensor->dims_size() >= 2 ? nn::InitKind::Normal
                                                  : nn::InitKind::Zero;
  }
  for (const onnx::NodeProto &node : model.graph().node())
    if (node.op_type() == "BatchNormalization" && node.input_size() > 4)
      if (ParameterInfo *variance = find(node.input(4)))
        variance->init = nn::InitKind::One;
}

/// A parameter of the model that no initializer stands for is tied to another. The nodes of its module use
/// the initializer that holds both.
void Parameters::findTies() {
  llvm::StringSet<> represented;
  for (auto &[name, info] : table)
    represented.insert(info->saved);
  // Module -> initializers that its nodes use. Scopes go from the outermost module to the node itself.
  StringMap<SmallVector<ParameterInfo *>> usedBy;
  for (auto &[name, info] : table) {
    if (!info->trains())
      continue;
    for (const Use &use : uses[name]) {
      std::vector<std::string> scopes = parseList(metadata(*use.node, scopesKey));
      if (scopes.size() >= 2 && !is_contained(usedBy[scopes[scopes.size() - 2]], info.get()))
        usedBy[scopes[scopes.size() - 2]].push_back(info.get());
    }
  }
  for (const std::string &missing : signature) {
    if (represented.contains(missing))
      continue;
    auto [owner, leaf] = splitModule(missing);
    auto it = usedBy.find(owner);
    if (it == usedBy.end())
      continue;
    // What the module uses under another module's name; the same last part of the name decides.
    SmallVector<ParameterInfo *> candidates, named;
    for (ParameterInfo *info : it->second) {
      if (splitModule(info->saved).first == owner)
        continue;
      candidates.push_back(info);
      if (splitModule(info->saved).second == leaf)
        named.push_back(info);
    }
    ParameterInfo *found = named.size() == 1 ? named[0] : candidates.size() == 1 ? candidates[0] : nullptr;
    if (found) {
      found->aliases.push_back(missing);
      represented.insert(missing);
    }
  }
  for (const std::string &missing : signature)
    if (!represented.contains(missing))
      if (ParameterInfo *found = findQuietTie(missing))
        found->aliases.push_back(missing);
}

/// A name whose module has no node of its own. Two ways of building models leave such names:
/// a head that keeps the bias of a child whose weight is tied (`lm_head.bias` and `lm_head.decoder.bias`), and a
/// table that encoder and decoder share (`shared.weight` and `{encoder,decoder}.embed_tokens.weight`).
ParameterInfo *Parameters::findQuietTie(StringRef missing) {
  auto [owner, leaf] = splitModule(missing);
  StringRef above = splitModule(owner).first;
  auto hasName = [](const ParameterInfo &info, StringRef name) {
    return info.saved == name || is_contained(info.aliases, name);
  };
  SmallVector<ParameterInfo *> found;
  for (auto &[name, info] : table) {
    if (!info->trains())
      continue;
    auto [child, childLeaf] = splitModule(info->saved);
    if (childLeaf == leaf && leaf != "weight" && splitModule(child).first == owner && !owner.empty()) {
      std::string weight = (child + ".weight").str();
      for (auto &[other, sibling] : table)
        if (hasName(*sibling, weight) && !sibling->aliases.empty())
          found.push_back(info.get());
    }
    if (leaf == "weight" && !owner.empty()) {
      llvm::StringSet<> tables;
      for (const Use &use : uses[name]) {
        std::vector<std::string> scopes = parseList(metadata(*use.node, scopesKey));
        StringRef module = scopes.size() >= 2 ? StringRef(scopes[scopes.size() - 2]) : StringRef();
        if (use.node->op_type() == "Gather" && use.input == 0 && module.consume_front(above))
          tables.insert(module);
      }
      if (tables.size() >= 2)
        found.push_back(info.get());
    }
  }
  return found.size() == 1 ? found[0] : nullptr;
}

/// Whether a name is that of a module's parameter, not one that an exporter made up (onnx::MatMul_275).
static bool isModuleName(StringRef name) { return name.contains('.') && !name.contains("::"); }

/// Makes two initializers one parameter, under the name that is a module's.
void Parameters::tie(ParameterInfo &one, ParameterInfo &other, bool transposed) {
  bool swap = isModuleName(other.saved) && !isModuleName(one.saved);
  ParameterInfo &kept = swap ? other : one, &copy = swap ? one : other;
  if (isModuleName(copy.saved))
    copy.aliases.push_back(copy.saved);
  copy.saved = kept.saved;
  copy.transposed = kept.transposed != transposed;
}

/// The values of a matrix that the file itself holds, row by row; nothing where they are elsewhere or all equal.
static ArrayRef<uint32_t> valuesOf(const onnx::TensorProto &tensor) {
  const std::string &bytes = tensor.raw_data();
  int64_t count = tensor.dims_size() == 2 ? numElements({tensor.dims(0), tensor.dims(1)}).value_or(0) : 0;
  if (count == 0 || bytes.size() / sizeof(uint32_t) != static_cast<size_t>(count) || reinterpret_cast<uintptr_t>(bytes.data()) % alignof(uint32_t))
    return {};
  ArrayRef<uint32_t> values(reinterpret_cast<const uint32_t *>(bytes.data()), count);
  return all_equal(values) ? ArrayRef<uint32_t>() : values;
}

/// Exporters that leave no metadata fold the transposition of a tied weight and forget that it is one: there are two matrices of
/// the same values then, which no training starts from by chance.
void Parameters::findCopies() {
  if (hasMetadata)
    return;
  std::map<std::pair<int64_t, int64_t>, SmallVector<ParameterInfo *>> byShape;
  for (auto &entry : table) {
    StringRef name = entry.first;
    ParameterInfo *info = entry.second.get();
    ArrayRef<uint32_t> values = info->trains() ? valuesOf(*info->tensor) : ArrayRef<uint32_t>();
    if (values.empty())
      continue;
    int64_t rows = info->tensor->dims(0), columns = info->tensor->dims(1);
    auto tieToFirst = [&](ArrayRef<ParameterInfo *> others, bool transposed) {
      for (ParameterInfo *other : others) {
        ArrayRef<uint32_t> theirs = valuesOf(*other->tensor);
        bool equal = true;
        for (int64_t i = 0; i < rows && equal; ++i)
          for (int64_t j = 0; j < columns && equal; ++j)
            equal = values[i * columns + j] == theirs[transposed ? j * rows + i : i * columns + j];
        if (!equal)
          continue;
        emitRemark(onnxLocation(model.context, OnnxName::Initializer, name))
            << "has the values of '" << other->tensor->name() << "'" << (transposed ? ", transposed" : "") << ": they train as one";
        tie(*other, *info, transposed);
        return true;
      }
      return false;
    };
    if (!tieToFirst(byShape[{rows, columns}], false) && !tieToFirst(byShape[{columns, rows}], true))
      byShape[{rows, columns}].push_back(info);
  }
}

/// A tied weight can be in the file twice, as it is and folded into its transpose.
void Parameters::mergeCopies() {
  StringMap<ParameterInfo *> byName;
  auto merge = [&](bool transposed) {
    for (auto &[name, info] : table) {
      if (!info->trains() || info->transposed != transposed)
        continue;
      ParameterInfo *first = nullptr;
      std::vector<std::string> names = info->aliases;
      names.insert(names.begin(), info->saved);
      for (const std::string &n : names)
        if (ParameterInfo *other = byName.lookup(n))
          first = other;
      if (first && first->savedShape() == info->savedShape()) {
        info->same = first;
        for (const std::string &n : names)
          if (n != first->saved && !is_contained(first->aliases, n))
            first->aliases.push_back(n);
      }
      for (const std::string &n : names)
        byName.try_emplace(n, first ? first : info.get());
    }
  };
  merge(false);
  merge(true);
}

LogicalResult Parameters::applyAliases() {
  bool ok = true;
  for (const auto &alias : options.aliases) {
    const std::string &one = alias.first, &other = alias.second;
    ParameterInfo *found[2] = {nullptr, nullptr};
    for (auto &[name, info] : table)
      for (int k = 0; k < 2; ++k)
        if (const std::string &wanted = k ? other : one;
            info->trains() && !info->same && (info->saved == wanted || is_contained(info->aliases, wanted)))
          found[k] = info.get();
    if (found[0] && found[0] == found[1])
      continue;
    auto fail = [&]() {
      ok = false;
      return emitError(UnknownLoc::get(model.context)) << "--alias=" << one << "=" << other << ": ";
    };
    if (!found[0] && !found[1]) {
      fail() << "neither is a parameter of the file";
      continue;
    }
    if (found[0] && found[1]) {
      Shape shapes[2] = {found[0]->savedShape(), found[1]->savedShape()};
      bool equal = shapes[0] == shapes[1];
      if (equal || (shapes[0].size() == 2 && shapes[0] == Shape{shapes[1].back(), shapes[1].front()})) {
        tie(*found[0], *found[1], !equal);
        continue;
      }
      InFlightDiagnostic d = fail() << "the file has both, of shapes ";
      llvm::interleave(shapes[0], d, "x");
      d << " and ";
      llvm::interleave(shapes[1], d, "x");
      continue;
    }
    (found[0] ? found[0] : found[1])->aliases.push_back(found[0] ? other : one);
  }
  return success(ok);
}

LogicalResult Parameters::applyFreeze() {
  bool ok = true;
  for (const std::string &text : options.freeze) {
    Expected<GlobPattern> glob = GlobPattern::create(text);
    if (!glob) {
      emitError(UnknownLoc::get(model.context)) << "--freeze=" << text << ": " << toString(glob.takeError());
      ok = false;
      continue;
    }
    bool any = false;
    for (auto &[name, info] : table) {
      if (!info->trains())
        continue;
      bool matches = glob->match(info->saved) || glob->match(name) ||
                     any_of(info->aliases, [&](const std::string &alias) { return glob->match(alias); });
      any |= matches;
      if (matches)
        info->kind = nn::ParameterKind::Frozen;
    }
    if (!any) {
      emitError(UnknownLoc::get(model.context)) << "--freeze=" << text << " matches no parameter";
      ok = false;
    }
  }
  return success(ok);
}

/// Says which parameters of the PyTorch model have no tensor of the file that trains: unused there, or folded away.
void Parameters::warnMissing() {
  llvm::StringSet<> known;
  for (auto &[name, info] : table) {
    known.insert(info->saved);
    for (const std::string &alias : info->aliases)
      known.insert(alias);
    if (auto origin = folded.find(name); origin != folded.end())
      for (const std::string &one : origin->second) // warnFolded named it
        known.insert(one);
  }
  SmallVector<StringRef> missing;
  for (const std::string &name : signature)
    if (!known.contains(name))
      missing.push_back(name);
  if (missing.empty())
    return;
  InFlightDiagnostic warning = emitWarning(UnknownLoc::get(model.context))
                               << missing.size() << " parameters of the PyTorch model are not in this file and do not train: ";
  llvm::interleaveComma(missing, warning, [&](StringRef name) { warning << "'" << name << "'"; });
  warning << "; --alias says if one is tied to another";
}

/// Exporters merge initializers of equal value. One vector that modules far apart share is probably several.
void Parameters::warnShared() {
  for (auto &[name, info] : table) {
    if (info->kind != nn::ParameterKind::Trainable || info->tensor->dims_size() != 1)
      continue;
    llvm::StringSet<> modules;
    SmallVector<std::string> nodes;
    for (const Use &use : uses[name]) {
      std::vector<std::string> scopes = parseList(metadata(*use.node, scopesKey));
      StringRef module = scopes.size() >= 2 ? StringRef(scopes[scopes.size() - 2]) : StringRef(use.node->name());
      if (modules.insert(module).second)
        nodes.push_back(use.node->name());
    }
    if (nodes.size() < 2)
      continue;
    InFlightDiagnostic warning = emitWarning(onnxLocation(model.context, OnnxName::Initializer, name))
                                 << "is shared by " << nodes.size() << " nodes ('" << nodes[0] << "', '" << nodes[1]
                                 << (nodes.size() > 2 ? "', ...)" : "')")
                                 << " and trains as one; exporters merge parameters of equal value"
                                 << " (to train them apart, export the model after a first step, when they differ)";
  }
}

LogicalResult Parameters::analyze() {
  readMetadata();
  classify();
  findUses();
  findTies();
  findCopies();
  mergeCopies();
  bool ok = succeeded(applyAliases());
  mergeCopies();
  ok &= succeeded(applyFreeze());
  warnShared();
  warnMissing();
  // Two initializers of one name that are not the same tensor: the one that has it in the file keeps it, or the first.
  llvm::StringSet<> saved;
  for (auto &[name, info] : table)
    if (!info->same && info->saved == name)
      saved.insert(name);
  for (auto &[name, info] : table)
    if (!info->same && info->saved != name && !saved.insert(info->saved).second) {
      emitWarning(onnxLocation(model.context, OnnxName::Initializer, name))
          << "also claims to be parameter '" << info->saved << "'; it is saved under its own name";
      info->saved = info->tensor->name();
      info->transposed = false;
    }
  return success(ok);
}

void Parameters::forget(StringRef saved) {
  for (auto &[name, info] : table)
    if (info->saved == saved)
      info->used = false;
}

/// The numbers in a name, in order.
static SmallVector<StringRef> findNumbers(StringRef name) {
  SmallVector<StringRef> numbers;
  while (!(name = name.drop_until(llvm::isDigit)).empty()) {
    numbers.push_back(name.take_while(llvm::isDigit));
    name = name.drop_front(numbers.back().size());
  }
  return numbers;
}

/// A name with "*" for each number that is another one in some of `others`, which differ from it in numbers only; for all, if there are none.
static std::string replaceNumbers(StringRef name, ArrayRef<StringRef> others) {
  SmallVector<SmallVector<StringRef>> numbers = llvm::map_to_vector(others, findNumbers);
  std::string text;
  for (size_t i = 0; !name.empty(); ++i) {
    text += name.take_until(llvm::isDigit);
    name = name.drop_until(llvm::isDigit);
    StringRef number = name.take_while(llvm::isDigit);
    bool isEqual = !others.empty() && llvm::all_of(numbers, [&](ArrayRef<StringRef> of) { return i >= of.size() || of[i] == number; });
    text += isEqual ? number : number.empty() ? StringRef() : StringRef("*");
    name = name.drop_front(number.size());
  }
  return text;
}

void Parameters::print(raw_ostream &os) const {
  int64_t counts[3] = {0, 0, 0}, elements[3] = {0, 0, 0};
  for (const auto &[name, info] : table) {
    if (!info->used || info->same)
      continue;
    int k = static_cast<int>(info->kind);
    ++counts[k];
    elements[k] += numElements(info->savedShape()).value_or(0);
  }
  os << counts[0] << " parameters train (" << elements[0] << " numbers), " << counts[1] << " are frozen ("
     << elements[1] << "), " << counts[2] << " tables are constant (" << elements[2] << ")";
  // Blocks have parameters alike: names that differ in numbers only are one line.
  SmallVector<SmallVector<const ParameterInfo *>> groups;
  llvm::StringMap<size_t> groupOf;
  for (const auto &[name, info] : table) {
    if (!info->used || info->same)
      continue;
    std::string key;
    llvm::raw_string_ostream stream(key);
    stream << static_cast<int>(info->kind) << " ";
    interleave(info->savedShape(), stream, "x");
    stream << " " << (info->aliases.empty() ? replaceNumbers(info->saved, {}) : info->saved);
    auto [found, isNew] = groupOf.try_emplace(key, groups.size());
    if (isNew)
      groups.emplace_back();
    groups[found->second].push_back(info.get());
  }
  for (ArrayRef<const ParameterInfo *> alike : groups) {
    const ParameterInfo &info = *alike.front();
    SmallVector<StringRef> names;
    for (const ParameterInfo *other : alike)
      names.push_back(other->saved);
    os << "\n  " << nn::stringifyParameterKind(info.kind) << " " << (alike.size() > 1 ? replaceNumbers(info.saved, names) : info.saved) << " ";
    interleave(info.savedShape(), os, "x");
    if (alike.size() > 1)
      os << ", " << alike.size() << " of them";
    for (const std::string &alias : info.aliases)
      os << ", also " << alias;
  }
}

} // namespace galvatron
