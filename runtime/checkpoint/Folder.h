// Folder.h: a folder of checkpoints, one safetensors file each.
#ifndef GALVATRON_RT_CHECKPOINT_FOLDER_H
#define GALVATRON_RT_CHECKPOINT_FOLDER_H

#include <cstdint>
#include <string>
#include <vector>

namespace galvatron_rt {

/// Files are called step-0000012.safetensors after the number of steps that they were written after; other
/// files of the folder are let alone.
class CheckpointFolder {
public:
  struct Checkpoint {
    std::string path;
    int64_t step;
  };

  explicit CheckpointFolder(const std::string &path) : path(path) {}
  ~CheckpointFolder();
  CheckpointFolder(const CheckpointFolder &) = delete;
  CheckpointFolder &operator=(const CheckpointFolder &) = delete;

  /// Makes the folder if there is none, keeps other programs from writing checkpoints there for as long
  /// as this object lives, and removes what a program that was killed left of an unfinished one.
  void open();
  /// The checkpoints, the last one last. All are complete.
  std::vector<Checkpoint> list() const;
  std::string pathOf(int64_t step) const;
  /// Removes all but the last `count`.
  void keepLast(size_t count) const;

private:
  void lock();

  std::string path;
  int descriptor = -1;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CHECKPOINT_FOLDER_H
