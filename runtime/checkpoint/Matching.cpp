// Matching.cpp: see Matching.h.
#include "checkpoint/Matching.h"

#include "core/Nearest.h"

#include <algorithm>

namespace galvatron_rt {
namespace {

bool isConvertible(FileDtype from, int64_t to) {
  if (from == fileDtype(to))
    return true;
  return to == GALVATRON_RT_F32 && (from == FileDtype::F16 || from == FileDtype::BF16);
}

const char *optimizerName(int64_t optimizer) {
  switch (static_cast<galvatron_rt_optimizer>(optimizer)) {
  case GALVATRON_RT_OPTIMIZER_NONE:
    return "none";
  case GALVATRON_RT_OPTIMIZER_ADAMW:
    return "adamw";
  case GALVATRON_RT_OPTIMIZER_SGD:
    return "sgd";
  }
  __builtin_unreachable();
}

} // namespace

void ProblemList::add(const std::string &problem) {
  if (++count <= most)
    lines.push_back(problem);
}

std::string ProblemList::text(const std::string &path) const {
  std::string all;
  for (const std::string &line : lines)
    all += concat("file '", path, "': ", line, "\n");
  if (count > most)
    all += concat("file '", path, "': and ", count - most, " more ", others, "\n");
  return all;
}

Matching::Matching(const Image &image, const SafeTensorsReader &file, LoadScope scope)
    : image(image), file(file), scope(scope) {
  auto add = [&](Content content) {
    for (Item &item : itemsOf(image, content)) {
      for (const std::string &name : item.names)
        matchOf[name] = found.size();
      found.push_back({std::move(item), {}});
    }
  };
  add(Content::Values);
  if (scope == LoadScope::Checkpoint)
    for (Content content : stateContents)
      add(content);
  for (const Entry &entry : file.entries())
    takeEntry(entry);
  for (Match &match : found) {
    const galvatron_rt_saved_record &saved = image.saved[match.item.saved];
    bool isConstant = saved.kind == GALVATRON_RT_SAVED_CONSTANT;
    if (scope == LoadScope::Constants && !isConstant)
      match.entries.clear();
    else if (match.entries.empty() && (scope == LoadScope::Everything || isConstant == (scope == LoadScope::Constants)))
      lacking.add(concat("lacks tensor '", match.item.names[0], "' of shape ", shapeText(image.dims(saved))));
  }
  std::string problems =
      unknown.text(file.path()) + different.text(file.path()) + lacking.text(file.path());
  if (!problems.empty())
    fail(problems.substr(0, problems.size() - 1));
  found.erase(std::remove_if(found.begin(), found.end(),
                             [](const Match &match) { return match.entries.empty(); }),
              found.end());
}

void Matching::takeEntry(const Entry &entry) {
  const auto &[name, tensor] = entry;
  auto known = matchOf.find(name);
  if (known == matchOf.end())
    return takeUnknown(name);
  const galvatron_rt_saved_record &saved = image.saved[found[known->second].item.saved];
  Dims dims = image.dims(saved);
  if (tensor.shape != std::vector<int64_t>(dims.begin(), dims.end()))
    return different.add(concat("tensor '", name, "' has shape ", shapeText(tensor.shape), ", wanted ",
                                shapeText(dims)));
  if (!isConvertible(tensor.dtype, saved.dtype))
    return different.add(concat("tensor '", name, "' has dtype ", fileDtypeName(tensor.dtype),
                                ", wanted ", fileDtypeName(fileDtype(saved.dtype))));
  found[known->second].entries.push_back(&entry);
}

void Matching::takeUnknown(const std::string &name) {
  std::optional<StateName> state = parseStateName(name);
  bool isKnownState = state && matchOf.count(state->saved);
  bool mayBeCheckpoint = scope == LoadScope::Parameters || scope == LoadScope::Checkpoint;
  if (mayBeCheckpoint && name == stepName)
    return;
  if (scope == LoadScope::Parameters && isKnownState)
    return;
  if (scope == LoadScope::Checkpoint && isKnownState) {
    const char *own = optimizerName(image.config().optimizer);
    if (std::string(optimizerOf(state->content)) != own)
      fail("file '", file.path(), "': it has the state of --optimizer=", optimizerOf(state->content),
           " ('", name, "'), this program was compiled with --optimizer=", own);
    return unknown.add(concat("tensor '", name, "' goes with '", state->saved,
                              "', which this program does not train"));
  }
  unknown.add(concat("tensor '", name, "' is not in the model", nearest(name)));
}

std::string Matching::nearest(const std::string &name) const {
  if (unknown.isFull())
    return "";
  std::vector<std::string> names;
  for (const auto &[candidate, match] : matchOf)
    names.push_back(candidate);
  std::string best = nearestName(name, names);
  return best.empty() ? "" : concat("; the nearest name is '", best, "'");
}

} // namespace galvatron_rt
