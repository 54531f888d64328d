//===- ProfileObject.cpp --------------------------------------------------===//

#include "ProfileObject.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

std::optional<ProfileObject> ProfileObject::read(StringRef path, Report report) {
  std::optional<std::string> text = readTextFile(path, "profile", report);
  if (!text)
    return std::nullopt;
  std::optional<json::Value> value = parseJson(*text, "profile", [&](const Twine &message) { report("'" + path + "': " + message); });
  if (!value)
    return std::nullopt;
  auto root = std::make_shared<json::Value>(std::move(*value));
  const json::Object *object = root->getAsObject();
  if (!object) {
    report("'" + path + "': wanted an object, {...}");
    return std::nullopt;
  }
  return ProfileObject(path.str(), "", std::move(root), object, std::make_shared<std::string>(std::move(*text)), report);
}

std::vector<std::string> ProfileObject::getKeys() const {
  // An object of LLVM's has no order; the text has.
  std::vector<std::pair<size_t, std::string>> found;
  for (const auto &entry : *object) {
    std::string key = StringRef(entry.first).str();
    found.emplace_back(text->find("\"" + key + "\""), key);
  }
  llvm::sort(found);
  std::vector<std::string> keys;
  for (auto &[place, key] : found)
    keys.push_back(std::move(key));
  return keys;
}

std::optional<double> ProfileObject::getNumber(StringRef key, double least, bool isAbove) const {
  const json::Value *value = object->get(key);
  std::optional<double> number = value ? value->getAsNumber() : std::nullopt;
  // Beyond it nothing is measured, and sums of products stay numbers.
  constexpr double most = 1e12;
  if (number && *number <= most && (isAbove ? *number > least : *number >= least))
    return number;
  if (!value) {
    refuse("\"" + key + "\" is missing");
    return std::nullopt;
  }
  std::string found;
  raw_string_ostream(found) << *value;
  std::string bound;
  raw_string_ostream(bound) << format("%g", least);
  refuse("\"" + key + "\" is " + StringRef(found).take_front(64) + ", wanted a number of " + (isAbove ? "more than " : "at least ") + bound + ", and at most 1e12");
  return std::nullopt;
}

std::optional<ProfileObject> ProfileObject::getObject(StringRef key) const {
  const json::Value *value = object->get(key);
  if (const json::Object *inner = value ? value->getAsObject() : nullptr)
    return ProfileObject(path, where + "\"" + key.str() + "\": ", root, inner, text, report);
  refuse("\"" + key + "\" " + (value ? "is no object, {...}" : "is missing"));
  return std::nullopt;
}
