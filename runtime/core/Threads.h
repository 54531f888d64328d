// Threads.h: the thread team, which is oneDNN's.
//
// Debian's oneDNN runs on libgomp, and two teams in one process fight for the cores. So the runtime
// forks on libgomp too, by its plain C entry points, whichever compiler builds it (clang's own
// OpenMP would bring a second team).
#ifndef GALVATRON_RT_CORE_THREADS_H
#define GALVATRON_RT_CORE_THREADS_H

#include <cstdint>

extern "C" {
void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
int omp_get_thread_num(void);
int omp_get_num_threads(void);
int omp_get_max_threads(void);
void omp_set_num_threads(int threads);
void omp_set_dynamic(int dynamic);
}

namespace galvatron_rt {

/// Makes `threads` the size of the calling thread's teams, ours and oneDNN's.
inline void useThreads(int64_t threads) {
  omp_set_dynamic(0);
  if (omp_get_max_threads() == threads)
    return;
  omp_set_num_threads(static_cast<int>(threads));
}

/// Calls body(thread) for thread in [0, threads), on one thread each if the team has as many, and
/// returns when all have returned. `body` must not throw.
template <typename Body> void onEachThread(int64_t threads, const Body &body) {
  if (threads <= 1)
    return body(int64_t(0));
  struct Work {
    const Body *body;
    int64_t threads;
  };
  auto trampoline = [](void *data) {
    const Work &work = *static_cast<const Work *>(data);
    for (int64_t i = omp_get_thread_num(); i < work.threads; i += omp_get_num_threads())
      (*work.body)(i);
  };
  Work work{&body, threads};
  GOMP_parallel(trampoline, &work, static_cast<unsigned>(threads), 0);
}

/// How many threads a team of `threads` really gets: OMP_THREAD_LIMIT and others may allow fewer.
inline int64_t teamSize(int64_t threads) {
  int64_t size = 1;
  GOMP_parallel(
      [](void *data) {
        if (omp_get_thread_num() == 0)
          *static_cast<int64_t *>(data) = omp_get_num_threads();
      },
      &size, static_cast<unsigned>(threads), 0);
  return size;
}

struct Range {
  int64_t begin, end;
};

/// Part `part` of `parts` nearly equal parts of [0, size), cut at multiples of `grain`. Earlier
/// parts are the longer ones; parts may be empty.
inline Range splitRange(int64_t size, int64_t grain, int64_t part, int64_t parts) {
  int64_t grains = (size + grain - 1) / grain;
  int64_t each = grains / parts, extra = grains % parts;
  int64_t first = part * each + (part < extra ? part : extra);
  int64_t last = first + each + (part < extra ? 1 : 0);
  int64_t begin = first * grain, end = last * grain;
  return {begin < size ? begin : size, end < size ? end : size};
}

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_THREADS_H
