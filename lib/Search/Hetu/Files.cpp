//===- Files.cpp ----------------------------------------------------------===//

#include "galvatron/Search/Hetu/Files.h"

#include "galvatron/Plan/Nearest.h"
#include "galvatron/Support/JsonFile.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <map>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

namespace {

/// Sizes of a model, by what configurations of different origin call them.
constexpr StringLiteral layerKeys[] = {"num_layers", "n_layers", "n_layer", "num_hidden_layers"};
constexpr StringLiteral hiddenKeys[] = {"hidden_size", "dim", "n_embd", "d_model"};

std::string join(StringRef folder, const Twine &name) {
  SmallString<128> path(folder);
  sys::path::append(path, name);
  return std::string(path);
}

/// The names in a folder, sorted; none if there is no such folder.
std::vector<std::string> list(StringRef folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (sys::fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    names.push_back(sys::path::filename(entry->path()).str());
  llvm::sort(names);
  return names;
}

/// Numbers of the lines "key: number" of a YAML file that are not indented. No more is needed, and a model's file has no more that matters.
std::map<std::string, int64_t> readYaml(StringRef text) {
  std::map<std::string, int64_t> numbers;
  while (!text.empty()) {
    StringRef line;
    std::tie(line, text) = text.split('\n');
    auto [key, value] = line.split('#').first.split(':');
    int64_t number;
    if (key == key.ltrim() && !value.trim().getAsInteger(10, number))
      numbers[key.rtrim().str()] = number;
  }
  return numbers;
}

class Finder {
public:
  Finder(StringRef folder, StringRef precision, Report report) : report(report) {
    base = sys::fs::is_directory(join(folder, "galvatron")) ? join(folder, "galvatron") : folder.str();
    yaml = join(folder, "model_configs_yaml");
    prefix = ("computation_profiling_" + precision + "_").str();
    for (const std::string &type : list(join(base, "models")))
      for (const std::string &file : list(configs(type)))
        if (StringRef name = file; name.consume_front(prefix) && name.consume_back(".json")) {
          name.consume_back("_all");
          models.push_back({type, name.str(), file});
        }
  }

  std::optional<ProfileFiles> find(StringRef model);

private:
  struct Model {
    std::string folder, name, file;
    std::string str() const { return folder + "/" + name; }
  };
  std::string configs(StringRef type) const { return join(join(base, "models"), type + "/configs"); }
  void addSizes(const Model &model, ProfileFiles &files);

  Report report;
  std::string base, yaml, prefix;
  std::vector<Model> models;
};

/// A configuration that cannot be read says nothing: flags can.
void Finder::addSizes(const Model &model, ProfileFiles &files) {
  std::map<std::string, int64_t> numbers;
  StringRef name = model.name;
  name = name.take_front(name.find("_seqlen"));
  auto ignore = [](const Twine &) {};
  auto &[ofYaml, ofJson] = files.configurations;
  ofYaml = join(yaml, name + ".yaml");
  ofJson = join(join(base, "models"), model.folder + "/meta_configs/" + name + ".json");
  if (sys::fs::exists(ofYaml))
    if (std::optional<std::string> text = readTextFile(ofYaml, "configuration", ignore))
      numbers = readYaml(*text);
  if (sys::fs::exists(ofJson))
    if (std::optional<json::Value> value = readJsonFile(ofJson, "configuration", ignore))
      if (const json::Object *object = value->getAsObject())
        for (const auto &entry : *object)
          if (std::optional<int64_t> number = entry.second.getAsInteger())
            numbers[entry.first.str()] = *number;
  // "hidden4096_head32" says one of them itself.
  int64_t hidden;
  if (StringRef rest = name; rest.consume_front("hidden") && !rest.take_while(isDigit).getAsInteger(10, hidden))
    files.hidden = hidden;
  for (auto [keys, size] : {std::pair(ArrayRef(layerKeys), &files.layers), std::pair(ArrayRef(hiddenKeys), &files.hidden)})
    for (StringRef key : keys)
      if (auto found = numbers.find(key.str()); found != numbers.end() && !*size)
        *size = found->second;
}

std::optional<ProfileFiles> Finder::find(StringRef wanted) {
  auto describe = [](ArrayRef<Model> list) {
    return llvm::join(map_range(list, [](const Model &model) { return model.str(); }), ", ");
  };
  if (models.empty()) {
    report("no profile '" + prefix + "...json' in '" + base + "/models/*/configs'");
    return std::nullopt;
  }
  if (wanted.empty()) {
    report("there are " + describe(models));
    return std::nullopt;
  }
  std::vector<Model> found;
  llvm::copy_if(models, std::back_inserter(found), [&](const Model &model) { return model.name == wanted || model.str() == wanted; });
  if (found.empty()) {
    std::vector<std::string> names;
    for (const Model &model : models)
      for (const std::string &name : {model.name, model.str()})
        names.push_back(name);
    report("model '" + wanted + "' is not known; there are " + describe(models) + suggestNearest(wanted, std::vector<StringRef>(names.begin(), names.end())));
    return std::nullopt;
  }
  if (found.size() > 1) {
    report("model '" + wanted + "' is there more than once: say " + describe(found));
    return std::nullopt;
  }
  const Model &model = found.front();
  ProfileFiles files;
  files.computation = join(configs(model.folder), model.file);
  files.memory = join(configs(model.folder), "memory" + StringRef(model.file).drop_front(StringRef("computation").size()));
  files.hardware = join(base, "profile_hardware/hardware_configs");
  addSizes(model, files);
  return files;
}

} // namespace

std::optional<ProfileFiles> hetu::findProfiles(StringRef folder, StringRef model, StringRef precision, Report report) {
  if (!sys::fs::is_directory(folder)) {
    report("'" + folder + "' is no folder");
    return std::nullopt;
  }
  return Finder(folder, precision, report).find(model);
}
