// Launch.h: how the process was started: by mpirun or alone, on which cores, and how its threads
// wait.
#ifndef GALVATRON_RT_CORE_LAUNCH_H
#define GALVATRON_RT_CORE_LAUNCH_H

#include "core/Image.h"

namespace galvatron_rt {

/// Must run first. Starts the program anew, once, if its threads need other surroundings: Open MPI
/// binds a rank to one core by default, whatever threads it has, and libgomp reads how threads wait
/// only when it is loaded. Returns if nothing has to change.
void settleThreads(const Image &image, char **argv);

/// Throws an Error that names the first feature this machine lacks, of those the program was
/// compiled for.
void checkProcessor(const Image &image);

/// "2 threads on 1 core: ...", or "" if there is nothing to warn of.
std::string threadWarning(const Image &image);

/// Whether this process is the one that speaks where all ranks would say the same.
bool isFirstRank();

/// Whether standard output is a terminal that somebody may watch. mpirun gives its programs one of
/// their own, wherever its own output goes; then mpirun's output is what counts.
bool isWatched();

/// MPI, for as long as the object lives, if a launcher started this process; otherwise one rank
/// alone.
class Job {
public:
  /// Throws an Error unless there are as many ranks as the image was compiled for.
  explicit Job(const Image &image);
  ~Job();
  Job(const Job &) = delete;
  Job &operator=(const Job &) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

private:
  void finish();

  bool started = false;
  int rank_ = 0, size_ = 1;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_LAUNCH_H
