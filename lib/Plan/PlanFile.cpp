//===- PlanFile.cpp -------------------------------------------------------===//

#include "galvatron/Plan/PlanFile.h"

#include "galvatron/Plan/Nearest.h"
#include "galvatron/Support/JsonFile.h"
#include "llvm/ADT/STLExtras.h"

using namespace llvm;
using namespace galvatron;

static constexpr StringLiteral recomputeNames[] = {"none", "attention", "block"};

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

namespace {

class PlanReader {
public:
  explicit PlanReader(Report report) : report(report) {}
  std::optional<Plan> read(const json::Value &value);

private:
  void fail(const Twine &where, const Twine &message) {
    ok = false;
    report(where.isTriviallyEmpty() ? message : where + ": " + message);
  }
  const json::Object *asObject(const json::Value &value, const Twine &where);
  void checkKeys(const json::Object &object, const Twine &where, ArrayRef<StringRef> known);
  std::optional<int64_t> readInteger(const json::Object &object, const Twine &where, StringRef key, int64_t least, int64_t most);
  std::optional<unsigned> readName(const json::Object &object, const Twine &where, StringRef key, ArrayRef<StringLiteral> names);
  bool readMesh(const json::Object &object);
  void readStages(const json::Object &object);
  PlanAxes readAxes(const json::Object &object, const Twine &where, StringRef key, bool isRequired = false);
  Strategy readStrategy(const json::Object &object, const Twine &where, bool isRun);
  OpOverride readOp(StringRef name, const json::Value &value, const Twine &where);
  void readBlocks(const json::Object &object);

  Report report;
  Plan plan;
  bool ok = true;
};

} // namespace

const json::Object *PlanReader::asObject(const json::Value &value, const Twine &where) {
  const json::Object *object = value.getAsObject();
  if (!object)
    fail(where, "wanted an object, {...}");
  return object;
}

void PlanReader::checkKeys(const json::Object &object, const Twine &where, ArrayRef<StringRef> known) {
  SmallVector<StringRef> unknown;
  for (const auto &entry : object)
    if (!is_contained(known, StringRef(entry.first)))
      unknown.push_back(entry.first);
  llvm::sort(unknown); // an object's order is that of its hash
  for (StringRef key : unknown)
    fail(where, "unknown key \"" + key.take_front(64) + "\"" + suggestNearest(key, known));
}

std::optional<int64_t> PlanReader::readInteger(const json::Object &object, const Twine &where, StringRef key, int64_t least, int64_t most) {
  const json::Value *value = object.get(key);
  if (!value)
    return std::nullopt;
  std::optional<int64_t> number = value->getAsInteger();
  if (number && *number >= least && *number <= most)
    return number;
  fail(where, "\"" + key + "\": wanted a whole number from " + Twine(least) + " to " + Twine(most));
  return std::nullopt;
}

std::optional<unsigned> PlanReader::readName(const json::Object &object, const Twine &where, StringRef key, ArrayRef<StringLiteral> names) {
  const json::Value *value = object.get(key);
  if (!value)
    return std::nullopt;
  std::optional<StringRef> text = value->getAsString();
  for (auto [i, name] : enumerate(names))
    if (text == name)
      return i;
  SmallVector<StringRef> known(names.begin(), names.end());
  fail(where, "\"" + key + "\": wanted " + listQuoted(known, " or ") + (text ? suggestNearest(*text, known) : ""));
  return std::nullopt;
}

bool PlanReader::readMesh(const json::Object &object) {
  const json::Array *sizes = object.getArray("mesh");
  if (!sizes) {
    fail("", "\"mesh\": wanted the sizes of the axes, slowest link first, like [2, 2]");
    return false;
  }
  int64_t ranks = 1;
  for (const json::Value &value : *sizes) {
    std::optional<int64_t> size = value.getAsInteger();
    if (!size || *size < 2 || *size > maxRanks / ranks) {
      fail("", "\"mesh\": wanted sizes of at least 2 with a product of at most " + Twine(maxRanks));
      return false;
    }
    ranks *= *size;
    plan.mesh.push_back(*size);
  }
  return true;
}

void PlanReader::readStages(const json::Object &object) {
  const json::Value *value = object.get("stages");
  if (!value)
    return;
  const json::Array *firsts = value->getAsArray();
  if (!firsts) {
    plan.stages.count = readInteger(object, "", "stages", 1, maxRanks).value_or(1);
    return;
  }
  for (const json::Value &first : *firsts) {
    std::optional<int64_t> number = first.getAsInteger();
    if (!number || *number < 0 || *number > maxRanks)
      return fail("", "\"stages\": wanted a number of stages, or the first block of each");
    plan.stages.firstBlocks.push_back(*number);
  }
  plan.stages.count = plan.stages.firstBlocks.size();
}

PlanAxes PlanReader::readAxes(const json::Object &object, const Twine &where, StringRef key, bool isRequired) {
  PlanAxes axes;
  const json::Value *value = object.get(key);
  if (!value && !isRequired)
    return axes;
  std::vector<std::string> storage;
  for (unsigned i = 0; i < plan.mesh.size(); ++i)
    storage.push_back(getAxisName(i));
  SmallVector<StringRef> names(storage.begin(), storage.end());
  const json::Array *list = value ? value->getAsArray() : nullptr;
  if (!list) {
    fail(where, "\"" + key + "\": wanted a list of axes of the mesh, like [\"a\"]");
    return axes;
  }
  for (const json::Value &entry : *list) {
    std::optional<StringRef> name = entry.getAsString();
    const auto *found = name ? llvm::find(names, *name) : names.end();
    if (found != names.end()) {
      axes.push_back(found - names.begin());
      continue;
    }
    fail(where, "\"" + key + "\": " + (name ? "the mesh has no axis \"" + name->take_front(64) + "\"" : Twine("wanted names of axes")) +
                    "; it has " + (names.empty() ? "none" : listQuoted(names)));
    break;
  }
  return axes;
}

OpOverride PlanReader::readOp(StringRef name, const json::Value &value, const Twine &where) {
  OpOverride op;
  op.op = name.str();
  const json::Array *list = value.getAsArray();
  if (!list) {
    fail(where, "wanted a list of what is split, [] if nothing is");
    return op;
  }
  for (const json::Value &entry : *list) {
    const json::Object *split = asObject(entry, where);
    if (!split)
      break;
    checkKeys(*split, where, {"operand", "dim", "axes"});
    for (StringRef key : {"operand", "dim"})
      if (!split->get(key))
        fail(where, "\"" + key + "\" is missing");
    OpOverride::Split &made = op.splits.emplace_back();
    made.operand = readInteger(*split, where, "operand", 0, 1 << 20).value_or(0);
    made.dim = readInteger(*split, where, "dim", 0, 1 << 20).value_or(0);
    made.axes = readAxes(*split, where, "axes", /*isRequired=*/true);
  }
  return op;
}

Strategy PlanReader::readStrategy(const json::Object &object, const Twine &where, bool isRun) {
  SmallVector<StringRef> known{"dp", "tp", "sp", "cp", "ep", "etp", "zero", "recompute", "ops"};
  if (isRun)
    known.push_back("count");
  checkKeys(object, where, known);
  Strategy strategy;
  strategy.data = readAxes(object, where, "dp");
  strategy.tensor = readAxes(object, where, "tp");
  strategy.sequence = readAxes(object, where, "sp");
  strategy.context = readAxes(object, where, "cp");
  strategy.expert = readAxes(object, where, "ep");
  strategy.expertTensor = readAxes(object, where, "etp");
  strategy.zero = readInteger(object, where, "zero", 0, 3).value_or(0);
  strategy.recompute = static_cast<Recompute>(readName(object, where, "recompute", recomputeNames).value_or(0));
  const json::Value *ops = object.get("ops");
  if (const json::Object *named = ops ? asObject(*ops, where + ": \"ops\"") : nullptr) {
    SmallVector<StringRef> names;
    for (const auto &entry : *named)
      names.push_back(entry.first);
    llvm::sort(names);
    for (StringRef name : names)
      strategy.ops.push_back(readOp(name, *named->get(name), where + ": op \"" + name.take_front(64) + "\""));
  }
  return strategy;
}

void PlanReader::readBlocks(const json::Object &object) {
  const json::Value *value = object.get("blocks");
  if (const json::Object *every = value ? value->getAsObject() : nullptr) {
    plan.blocks.push_back({0, readStrategy(*every, "blocks", /*isRun=*/false)});
    return;
  }
  const json::Array *runs = value ? value->getAsArray() : nullptr;
  if (!runs)
    return fail("", "\"blocks\": wanted one strategy for all blocks, {...}, or a list with those of each");
  int64_t first = 0;
  for (const json::Value &entry : *runs) {
    std::string where = describeBlocks(first, 1);
    const json::Object *run = asObject(entry, where);
    if (!run)
      return;
    int64_t count = readInteger(*run, where, "count", 1, maxRanks).value_or(1);
    plan.blocks.push_back({count, readStrategy(*run, describeBlocks(first, count), /*isRun=*/true)});
    first += plan.blocks.back().count;
  }
}

std::optional<Plan> PlanReader::read(const json::Value &value) {
  const json::Object *object = asObject(value, "");
  if (!object)
    return std::nullopt;
  // Another version may have other keys, about which there is nothing to say.
  std::optional<int64_t> version = object->getInteger("version");
  if (version != planVersion) {
    if (!object->get("version") && object->get("pp_deg"))
      fail("", "a plan of Hetu-Galvatron, which galvatron-translate --import-galvatron-plan turns into one of version " + Twine(planVersion));
    else if (!version && object->get("version"))
      fail("", "\"version\": wanted the number " + Twine(planVersion));
    else
      fail("", (version ? "version " + Twine(*version) : Twine("a plan without a \"version\"")) +
                   " is not known; this compiler reads version " + Twine(planVersion));
    return std::nullopt;
  }
  checkKeys(*object, "",
            {"version", "mesh", "global_batch", "micro_batches", "stages", "schedule", "embedding", "blocks", "head"});
  // Without its axes there is nothing to say of the others.
  if (!readMesh(*object))
    return std::nullopt;
  plan.globalBatch = readInteger(*object, "", "global_batch", 1, INT64_MAX);
  plan.microBatches = readInteger(*object, "", "micro_batches", 1, INT64_MAX);
  readStages(*object);
  if (const json::Value *schedule = object->get("schedule")) {
    auto refuse = [&](const Twine &message) { fail("", message); };
    std::optional<StringRef> name = schedule->getAsString();
    if (!name)
      fail("", "\"schedule\": wanted a name, like \"1f1b\"");
    else if (std::optional<PlanSchedule> found = parseSchedule(*name, refuse))
      plan.schedule = *found;
  }
  for (auto [key, strategy] : {std::pair("embedding", &plan.embedding), {"head", &plan.head}})
    if (const json::Value *found = object->get(key))
      if (const json::Object *fields = asObject(*found, key))
        *strategy = readStrategy(*fields, key, /*isRun=*/false);
  readBlocks(*object);
  if (!ok || !checkPlan(plan, report))
    return std::nullopt;
  return plan;
}

std::optional<Plan> galvatron::parsePlan(StringRef text, Report report) {
  std::optional<json::Value> value = parseJson(text, "plan", report);
  return value ? PlanReader(report).read(*value) : std::nullopt;
}

std::optional<Plan> galvatron::readPlanFile(StringRef path, Report report) {
  std::optional<std::string> text = readTextFile(path, "plan", report);
  if (!text)
    return std::nullopt;
  std::optional<Plan> plan = parsePlan(*text, [&](const Twine &message) { report("'" + path + "': " + message); });
  if (plan)
    plan->file = path.str();
  return plan;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

/// A short list, on one line.
static std::string printAxes(const PlanAxes &axes) {
  std::string text;
  for (unsigned axis : axes)
    text += (text.empty() ? "\"" : ", \"") + getAxisName(axis) + "\"";
  return "[" + text + "]";
}

static std::string printNumbers(ArrayRef<int64_t> numbers) {
  std::string text;
  for (int64_t number : numbers)
    text += (text.empty() ? "" : ", ") + std::to_string(number);
  return "[" + text + "]";
}

/// Writes the fields of a strategy that are not what they are without being said.
static void printStrategy(json::OStream &os, const Strategy &strategy) {
  auto list = [&](StringRef key, const PlanAxes &axes) {
    os.attributeBegin(key);
    os.rawValue(printAxes(axes));
    os.attributeEnd();
  };
  list("dp", strategy.data);
  list("tp", strategy.tensor);
  if (!strategy.sequence.empty())
    list("sp", strategy.sequence);
  if (!strategy.context.empty())
    list("cp", strategy.context);
  if (!strategy.expert.empty())
    list("ep", strategy.expert);
  if (!strategy.expertTensor.empty())
    list("etp", strategy.expertTensor);
  if (strategy.zero)
    os.attribute("zero", strategy.zero);
  if (strategy.recompute != Recompute::None)
    os.attribute("recompute", recomputeNames[static_cast<int>(strategy.recompute)]);
  if (strategy.ops.empty())
    return;
  os.attributeObject("ops", [&] {
    for (const OpOverride &op : strategy.ops)
      os.attributeArray(op.op, [&] {
        for (const OpOverride::Split &split : op.splits)
          os.rawValue("{\"operand\": " + std::to_string(split.operand) + ", \"dim\": " + std::to_string(split.dim) +
                      ", \"axes\": " + printAxes(split.axes) + "}");
      });
  });
}

void galvatron::printPlan(const Plan &plan, raw_ostream &stream) {
  json::OStream os(stream, 2);
  os.object([&] {
    os.attribute("version", planVersion);
    os.attributeBegin("mesh");
    os.rawValue(printNumbers(plan.mesh));
    os.attributeEnd();
    if (plan.globalBatch)
      os.attribute("global_batch", *plan.globalBatch);
    if (plan.microBatches)
      os.attribute("micro_batches", *plan.microBatches);
    if (plan.stages.firstBlocks.empty()) {
      os.attribute("stages", plan.stages.count);
    } else {
      os.attributeBegin("stages");
      os.rawValue(printNumbers(plan.stages.firstBlocks));
      os.attributeEnd();
    }
    os.attribute("schedule", stringifySchedule(plan.schedule));
    if (plan.embedding)
      os.attributeObject("embedding", [&] { printStrategy(os, *plan.embedding); });
    if (plan.blocks.size() == 1 && plan.blocks.front().count == 0)
      os.attributeObject("blocks", [&] { printStrategy(os, plan.blocks.front().strategy); });
    else
      os.attributeArray("blocks", [&] {
        for (const BlockRun &run : plan.blocks)
          os.object([&] {
            os.attribute("count", run.count);
            printStrategy(os, run.strategy);
          });
      });
    if (plan.head)
      os.attributeObject("head", [&] { printStrategy(os, *plan.head); });
  });
  stream << "\n";
}
