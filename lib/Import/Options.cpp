//===- Options.cpp - What the tools' flags say ----------------------------===//

#include "galvatron/Import/Import.h"

using namespace llvm;

namespace galvatron {

std::optional<std::string> parseShapes(StringRef text, StringMap<std::vector<int64_t>> &shapes) {
  SmallVector<StringRef> parts;
  text.split(parts, ',', -1, /*KeepEmpty=*/false);
  for (StringRef part : parts) {
    // An input's name may hold colons; its shape does not.
    auto [name, dims] = part.rsplit(':');
    if (name.empty() || dims.empty())
      return ("'" + part + "' is not NAME:DIMxDIM...").str();
    std::vector<int64_t> sizes;
    SmallVector<StringRef> numbers;
    if (dims != "scalar")
      dims.split(numbers, 'x');
    for (StringRef number : numbers) {
      int64_t size;
      if (number.getAsInteger(10, size) || size < 1)
        return ("'" + number + "' in '" + part + "' is not a size; wanted a whole number of at least 1").str();
      sizes.push_back(size);
    }
    if (!shapes.try_emplace(name, sizes).second)
      return ("input '" + name + "' is named twice").str();
  }
  return std::nullopt;
}

std::optional<std::string> parseAlias(StringRef text, std::vector<std::pair<std::string, std::string>> &aliases) {
  auto [one, other] = text.split('=');
  if (one.empty() || other.empty() || other.contains('='))
    return ("'" + text + "' is not NAME=NAME").str();
  aliases.push_back({one.str(), other.str()});
  return std::nullopt;
}

} // namespace galvatron
