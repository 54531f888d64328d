// Arena.h: the one piece of memory that all tensors of a program live in.
#ifndef GALVATRON_RT_CORE_ARENA_H
#define GALVATRON_RT_CORE_ARENA_H

#include <cstdint>

namespace galvatron_rt {

class Arena {
public:
  /// Maps `bytes` zeroed bytes, aligned to a huge page and marked for huge pages. Throws an Error
  /// with the bytes that are needed and those that there are if the machine does not give them.
  explicit Arena(int64_t bytes);
  ~Arena();
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;

  char *data() const { return begin; }
  int64_t size() const { return bytes; }

private:
  void *mapping;
  int64_t mappedBytes;
  char *begin;
  int64_t bytes;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_ARENA_H
