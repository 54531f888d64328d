// Contents.cpp: see Contents.h.
#include "checkpoint/Contents.h"

#include <algorithm>
#include <set>
#include <utility>

namespace galvatron_rt {
namespace {

struct ContentTraits {
  int64_t stateKind; // galvatron_rt_state_kind; -1 for what parameters hold themselves
  const char *suffix, *optimizer;
};

/// In the order of Content.
constexpr ContentTraits contentTraits[] = {
    {-1, "", ""},
    {GALVATRON_RT_STATE_GRADIENT, "", ""},
    {GALVATRON_RT_STATE_EXP_AVG, ".exp_avg", "adamw"},
    {GALVATRON_RT_STATE_EXP_AVG_SQ, ".exp_avg_sq", "adamw"},
    {GALVATRON_RT_STATE_MOMENTUM_BUFFER, ".momentum_buffer", "sgd"},
};

const ContentTraits &traitsOf(Content content) {
  return contentTraits[static_cast<size_t>(content)];
}

std::vector<std::pair<int64_t, int64_t>> splitsOf(const Image &image, int64_t tensor) {
  std::vector<std::pair<int64_t, int64_t>> found;
  for (const galvatron_rt_split_record &split : image.splits)
    if (split.tensor == tensor)
      found.push_back({split.dim, split.axis});
  return found;
}

} // namespace

const char *contentSuffix(Content content) { return traitsOf(content).suffix; }

const char *optimizerOf(Content content) { return traitsOf(content).optimizer; }

std::vector<Item> itemsOf(const Image &image, Content content) {
  std::vector<int64_t> tensorOf(static_cast<size_t>(image.tensors.size()), -1);
  for (const galvatron_rt_state_record &state : image.state)
    if (state.kind == traitsOf(content).stateKind) {
      // A view says where the pieces of a parameter lie in the saved tensor; so it does for these.
      if (splitsOf(image, state.tensor) != splitsOf(image, state.parameter))
        fail("program table: '", image.string(image.tensors[state.tensor].name),
             "' is split otherwise than its parameter");
      tensorOf[static_cast<size_t>(state.parameter)] = state.tensor;
    }
  std::vector<Item> all;
  for (int64_t i = 0; i < image.saved.size(); ++i)
    all.push_back({i, content, {concat(image.string(image.saved[i].name), contentSuffix(content))}, {}});
  for (const galvatron_rt_alias_record &alias : image.aliases)
    all[static_cast<size_t>(alias.saved)].names.push_back(
        concat(image.string(alias.name), contentSuffix(content)));
  for (const galvatron_rt_view_record &view : image.views)
    all[static_cast<size_t>(view.saved)].parts.push_back(
        {&view, content == Content::Values ? view.tensor : tensorOf[static_cast<size_t>(view.tensor)]});
  std::vector<Item> items;
  auto isElsewhere = [&](const Item &item) {
    return image.config().stages > 1 &&
           (content == Content::Values || (image.saved[item.saved].contents >> traitsOf(content).stateKind & 1));
  };
  for (Item &item : all)
    if (isElsewhere(item) || std::any_of(item.parts.begin(), item.parts.end(),
                    [](const Item::Part &part) { return part.tensor >= 0; }))
      items.push_back(std::move(item));
  return items;
}

std::optional<StateName> parseStateName(const std::string &name) {
  for (Content content : stateContents) {
    std::string suffix = contentSuffix(content);
    if (name.size() > suffix.size() &&
        name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0)
      return StateName{name.substr(0, name.size() - suffix.size()), content};
  }
  return std::nullopt;
}

void checkHasCheckpoints(const Image &image) {
  std::set<std::string> names = {stepName};
  auto add = [&](Content content) {
    for (const Item &item : itemsOf(image, content))
      for (const std::string &name : item.names)
        if (!names.insert(name).second)
          fail("a checkpoint would have two tensors called '", name, "': a parameter of the model has "
               "the name of what is kept beside it");
  };
  add(Content::Values);
  for (Content content : stateContents)
    add(content);
  for (Content content : stateContents)
    for (const Item &item : itemsOf(image, content))
      for (const Item::Part &part : item.parts)
        if (part.tensor >= 0 && !part.view->primary)
          fail("a checkpoint cannot hold '", image.string(image.tensors[part.tensor].name), "': '",
               image.string(image.tensors[part.view->tensor].name),
               "' is trained beside another parameter with the same elements of '",
               image.string(image.saved[item.saved].name), "'");
  std::set<int64_t> known;
  for (const galvatron_rt_state_record &state : image.state)
    known.insert(state.tensor);
  for (int64_t i = 0; i < image.tensors.size(); ++i)
    if (image.tensors[i].role == GALVATRON_RT_ROLE_OPTIMIZER_STATE && !known.count(i))
      fail("a checkpoint cannot hold '", image.string(image.tensors[i].name),
           "', which is kept between steps and belongs to no parameter");
}

} // namespace galvatron_rt
