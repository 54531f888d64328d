// Launch.cpp: see Launch.h.
#include "core/Launch.h"

#include "comm/Communicator.h"
#include "core/Cpu.h"
#include "core/Error.h"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <mpi.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GALVATRON_RT_LEAKS_ARE_CHECKED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define GALVATRON_RT_LEAKS_ARE_CHECKED
#endif

#ifdef GALVATRON_RT_LEAKS_ARE_CHECKED
extern "C" void __lsan_disable();
extern "C" void __lsan_enable();
#endif

namespace galvatron_rt {
namespace {

/// Open MPI keeps memory until the process ends and unloads the modules that allocated it: a leak
/// checker, where there is one, looks away as long as this lives.
struct UncheckedLeaks {
#ifdef GALVATRON_RT_LEAKS_ARE_CHECKED
  UncheckedLeaks() { __lsan_disable(); }
  ~UncheckedLeaks() { __lsan_enable(); }
#else
  UncheckedLeaks() {}
#endif
};

const char startedAnew[] = "GALVATRON_RT_STARTED_ANEW";

int64_t environmentNumber(const char *name, int64_t otherwise) {
  const char *text = std::getenv(name);
  if (!text || !*text)
    return otherwise;
  char *end;
  long long value = std::strtoll(text, &end, 10);
  return *end ? otherwise : value;
}

bool launchedByMpi() { return std::getenv("OMPI_COMM_WORLD_SIZE") || std::getenv("PMIX_RANK"); }

/// The process above another one, 0 if the system does not say.
int64_t parentOf(int64_t process) {
  std::ifstream status(concat("/proc/", process, "/status"));
  std::string word;
  while (status >> word)
    if (int64_t parent; word == "PPid:" && status >> parent)
      return parent;
  return 0;
}

/// Gives a rank that mpirun bound to fewer cores than it has threads its share of the node's cores.
/// A binding that the user asked mpirun for stays. Returns whether anything changed.
bool widenBinding(int64_t threads) {
  if (!launchedByMpi() || std::getenv("OMPI_MCA_hwloc_base_binding_policy") ||
      availableCores() >= threads)
    return false;
  int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
  int64_t ranks = environmentNumber("OMPI_COMM_WORLD_LOCAL_SIZE", 1);
  int64_t rank = environmentNumber("OMPI_COMM_WORLD_LOCAL_RANK", 0);
  cpu_set_t set;
  CPU_ZERO(&set);
  bool enough = ranks * threads <= cores;
  for (int64_t i = 0; i < cores && i < CPU_SETSIZE; ++i)
    if (!enough || i / threads == rank)
      CPU_SET(i, &set);
  int before = availableCores();
  return sched_setaffinity(0, sizeof(set), &set) == 0 && availableCores() > before;
}

} // namespace

bool isFirstRank() { return environmentNumber("OMPI_COMM_WORLD_RANK", 0) == 0; }

void settleThreads(const Image &image, char **argv) {
  if (std::getenv(startedAnew)) {
    unsetenv(startedAnew);
    return;
  }
  int64_t threads = image.config().threads;
  bool changed = widenBinding(threads);
  // Threads that spin while they wait hold cores that other ranks need.
  int64_t ranks = environmentNumber("OMPI_COMM_WORLD_LOCAL_SIZE", 1);
  int64_t cores = std::max<int64_t>(sysconf(_SC_NPROCESSORS_ONLN), 1);
  bool crowded = threads > 1 && (threads > availableCores() || threads * ranks > cores);
  if (crowded && !std::getenv("OMP_WAIT_POLICY") && !std::getenv("GOMP_SPINCOUNT")) {
    setenv("OMP_WAIT_POLICY", "passive", 1);
    changed = true;
  }
  if (!changed)
    return;
  setenv(startedAnew, "1", 1);
  execv("/proc/self/exe", argv);
  // Without /proc the program goes on as it was started: slower, not wrong.
  unsetenv(startedAnew);
}

void checkProcessor(const Image &image) {
  const galvatron_rt_config_record &config = image.config();
  std::vector<std::string> wanted = splitFeatures(image.string(config.cpu_features));
  for (const std::string &feature : levelFeatures(config.cpu_level))
    wanted.push_back(feature);
  std::vector<std::string> missing = missingFeatures(wanted);
  if (missing.empty())
    return;
  std::string list = missing[0];
  for (size_t i = 1; i < missing.size(); ++i)
    list += ", " + missing[i];
  fail("this processor lacks ", list,
       ", which the program was compiled for; compile it with --cpu=x86-64-v3 or on "
       "this machine");
}

std::string threadWarning(const Image &image) {
  int64_t threads = image.config().threads, cores = availableCores();
  if (threads <= cores)
    return "";
  return concat("the program was compiled for ", threads, " threads and may use ", cores,
                cores == 1 ? " core" : " cores", ": it runs, but more slowly");
}

bool isWatched() {
  struct stat own, above;
  if (!isatty(STDOUT_FILENO) || fstat(STDOUT_FILENO, &own))
    return false;
  if (!launchedByMpi())
    return true;
  // mpirun is the nearest process above whose output is another one: a shell may lie between.
  for (int64_t process = getppid(); process > 1; process = parentOf(process)) {
    std::string path = concat("/proc/", process, "/fd/1");
    if (stat(path.c_str(), &above))
      return false;
    if (above.st_dev == own.st_dev && above.st_ino == own.st_ino)
      continue;
    // Not even opened unless it may be a terminal: to open a pipe means something to who reads it.
    int output = S_ISCHR(above.st_mode) ? open(path.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC) : -1;
    bool terminal = output >= 0 && isatty(output);
    if (output >= 0)
      close(output);
    return terminal;
  }
  return false;
}

Job::Job(const Image &image) {
  int64_t wanted = image.config().ranks;
  if (launchedByMpi()) {
    UncheckedLeaks unchecked;
    int initialized = 0;
    MPI_Initialized(&initialized);
    if (!initialized) {
      int provided;
      if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        fail("MPI did not start"); // untested: MPI's error handler ends the process before
      started = true;
    }
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  if (size_ == wanted)
    return;
  finish();
  std::string problem = concat("the program was compiled for ", wanted, wanted == 1 ? " rank" : " ranks",
                               " and was started with ", size_, "; start it with mpirun -n ", wanted,
                               wanted == 1 ? "" : ", or by itself with --ranks-as-threads");
  if (rank_ != 0)
    throw PeerError(problem);
  fail(problem);
}

Job::~Job() {
  // After an error the others may never come to the end that MPI_Finalize waits for.
  if (std::uncaught_exceptions() && size_ > 1)
    return;
  finish();
}

void Job::finish() {
  UncheckedLeaks unchecked;
  if (started)
    MPI_Finalize();
  started = false;
}

} // namespace galvatron_rt
