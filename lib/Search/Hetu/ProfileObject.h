//===- ProfileObject.h - Objects of profile files ---------------*- C++ -*-===//

#ifndef GALVATRON_LIB_SEARCH_HETU_PROFILEOBJECT_H
#define GALVATRON_LIB_SEARCH_HETU_PROFILEOBJECT_H

#include "galvatron/Support/JsonFile.h"

#include <memory>
#include <string>
#include <vector>

namespace galvatron::hetu {

/// An object of a file. What is asked of it is reported with the file and the keys that lead there.
class ProfileObject {
public:
  /// The object that is all of a file.
  static std::optional<ProfileObject> read(llvm::StringRef path, Report report);

  /// Keys as the file has them one behind the other: of several that fit, its own reader takes the first.
  std::vector<std::string> getKeys() const;
  bool has(llvm::StringRef key) const { return object->get(key); }
  bool isObject(llvm::StringRef key) const { return object->getObject(key); }
  /// A number of at least `least`, and more than it if `isAbove`.
  std::optional<double> getNumber(llvm::StringRef key, double least, bool isAbove) const;
  std::optional<ProfileObject> getObject(llvm::StringRef key) const;
  /// Says what is wrong with the object, or with one of its keys.
  void refuse(const llvm::Twine &message) const { report("'" + path + "': " + where + message); }

private:
  ProfileObject(std::string path, std::string where, std::shared_ptr<llvm::json::Value> root, const llvm::json::Object *object,
                std::shared_ptr<std::string> text, Report report)
      : path(std::move(path)), where(std::move(where)), root(std::move(root)), object(object), text(std::move(text)), report(report) {}

  std::string path, where;
  std::shared_ptr<llvm::json::Value> root; ///< which `object` is in
  const llvm::json::Object *object;
  std::shared_ptr<std::string> text;
  Report report;
};

} // namespace galvatron::hetu

#endif
