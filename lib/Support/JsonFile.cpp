//===- JsonFile.cpp -------------------------------------------------------===//

#include "galvatron/Support/JsonFile.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Errc.h"
#include "llvm/Support/FileSystem.h"

using namespace llvm;
using namespace galvatron;

static constexpr size_t maxBytes = 16 << 20, maxDepth = 32;

/// Checks what LLVM's parser does not: that brackets are not too deep, and that no object has a key twice.
static bool checkText(StringRef text, Report report) {
  SmallVector<StringSet<>> objects; // one for each open bracket; those of lists stay empty
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '{' || c == '[') {
      if (objects.size() == maxDepth) {
        report("brackets are more than " + Twine(maxDepth) + " deep");
        return false;
      }
      objects.emplace_back();
    } else if ((c == '}' || c == ']') && !objects.empty()) {
      objects.pop_back();
    } else if (c == '"') {
      size_t begin = ++i;
      while (i < text.size() && text[i] != '"')
        i += text[i] == '\\' ? 2 : 1;
      StringRef string = text.slice(begin, i);
      bool isKey = text.substr(i + 1).ltrim(" \t\r\n").starts_with(":");
      // The same key may be written with escapes.
      std::string key = string.str();
      if (string.contains('\\')) {
        Expected<json::Value> unescaped = json::parse(("\"" + string + "\"").str());
        if (!unescaped)
          consumeError(unescaped.takeError()); // the parser will say so
        else if (std::optional<StringRef> found = unescaped->getAsString())
          key = found->str();
      }
      if (isKey && !objects.empty() && !objects.back().insert(key).second) {
        report("key \"" + StringRef(key).take_front(64) + "\" is there twice");
        return false;
      }
    }
  }
  return true;
}

/// Whether a text is so long that reading it may take all memory.
static bool isTooLong(size_t bytes, StringRef what, Report report) {
  if (bytes > maxBytes)
    report("larger than " + Twine(maxBytes >> 20) + " MiB, which no " + what + " is");
  return bytes > maxBytes;
}

std::optional<json::Value> galvatron::parseJson(StringRef text, StringRef what, Report report) {
  if (isTooLong(text.size(), what, report))
    return std::nullopt;
  if (!checkText(text, report))
    return std::nullopt;
  Expected<json::Value> value = json::parse(text);
  if (value)
    return std::move(*value);
  report("no JSON: " + toString(value.takeError()));
  return std::nullopt;
}

std::optional<std::string> galvatron::readTextFile(StringRef path, StringRef what, Report report) {
  auto refuse = [&](const Twine &why) {
    report("cannot read '" + path + "': " + why);
    return std::nullopt;
  };
  if (sys::fs::is_directory(path))
    return refuse(make_error_code(errc::is_a_directory).message());
  Expected<sys::fs::file_t> file = sys::fs::openNativeFileForRead(path);
  if (!file)
    return refuse(toString(file.takeError()));
  // A pipe or a device has no size to ask for.
  SmallVector<char> text;
  Error error = Error::success();
  do {
    size_t have = text.size();
    text.resize_for_overwrite(have + (1 << 16));
    Expected<size_t> read = sys::fs::readNativeFile(*file, MutableArrayRef(text).drop_front(have));
    text.truncate(have + (read ? *read : 0));
    if (!read)
      error = joinErrors(std::move(error), read.takeError());
    if (text.size() == have)
      break;
  } while (text.size() <= maxBytes);
  sys::fs::closeFile(*file);
  if (error)
    return refuse(toString(std::move(error)));
  if (isTooLong(text.size(), what, [&](const Twine &message) { report("'" + path + "': " + message); }))
    return std::nullopt;
  return std::string(text.begin(), text.end());
}

std::optional<json::Value> galvatron::readJsonFile(StringRef path, StringRef what, Report report) {
  std::optional<std::string> text = readTextFile(path, what, report);
  if (!text)
    return std::nullopt;
  return parseJson(*text, what, [&](const Twine &message) { report("'" + path + "': " + message); });
}
