// Arena.h: the one piece of memory that all tensors of a program live in, and those of other ranks.
#ifndef GALVATRON_RT_CORE_ARENA_H
#define GALVATRON_RT_CORE_ARENA_H

#include <cstdint>

namespace galvatron_rt {

class Arena {
public:
  /// Maps `bytes` zeroed bytes, aligned to a huge page and marked for huge pages. Throws an Error
  /// with the bytes that are needed and those that there are if the machine does not give them.
  /// If it is shared, other processes of this machine can map it.
  explicit Arena(int64_t bytes, bool isShared = false);
  /// The shared arena of another process, mapped here too. Throws an Error if the system refuses.
  Arena(int64_t process, int64_t descriptor, int64_t bytes);
  ~Arena();
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;

  char *data() const { return begin; }
  int64_t size() const { return bytes; }
  /// By which another process finds it; -1 if it is not shared.
  int descriptor() const { return file; }

private:
  void share();

  void *mapping;
  int64_t mappedBytes;
  char *begin;
  int64_t bytes;
  int file = -1;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_ARENA_H
