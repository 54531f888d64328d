// Main.cpp: galvatron_rt_main, which is main() of every compiled program.
#include "core/File.h"
#include "core/Launch.h"
#include "core/Memory.h"
#include "core/Ranks.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <new>
#include <thread>
#include <unistd.h>

using namespace galvatron_rt;

namespace {

/// One "program: error: ..." per line of the message.
void printErrors(const std::string &program, const std::string &message) {
  std::fflush(stdout);
  size_t begin = 0;
  do {
    size_t end = std::min(message.find('\n', begin), message.size());
    std::fprintf(stderr, "%s: error: %s\n", program.c_str(),
                 message.substr(begin, end - begin).c_str());
    begin = end + 1;
  } while (begin < message.size());
}

/// mpirun ends all ranks when one of them fails: the one that says why must have said it by then.
void letOthersSpeak(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

/// What was printed has arrived somewhere, or nobody wanted it. A full disk, say, shows only here.
bool isOutputWritten() {
  bool isClosed = fcntl(STDOUT_FILENO, F_GETFD) < 0;
  return isClosed || (std::fflush(stdout) == 0 && !std::ferror(stdout));
}

/// Path of the running executable; its weights file lies beside it.
std::string executablePath(const char *argv0) {
  char buffer[4096];
  ssize_t length = readlink("/proc/self/exe", buffer, sizeof(buffer) - 1);
  return length > 0 ? std::string(buffer, static_cast<size_t>(length)) : argv0;
}

} // namespace

extern "C" int galvatron_rt_main(int argc, char **argv, const galvatron_rt_image *images) {
  std::string program = argc > 0 ? baseName(argv[0]) : "program";
  try {
    Image image(images);
    int64_t largestArena = 0;
    for (int64_t stage = 0; stage < image.config().stages; ++stage)
      largestArena = std::max(largestArena, Image(images + stage).config().arena_bytes);
    Options options = parseOptions(argc, argv, image);
    checkProcessor(image);
    settleThreads(image, argv);
    std::optional<Job> job;
    if (!options.ranksAsThreads)
      job.emplace(image);
    for (const std::string &warning :
         {threadWarning(image), memoryWarning(largestArena, readMachineMemory())})
      if (!warning.empty() && isFirstRank())
        std::fprintf(stderr, "%s: warning: %s\n", program.c_str(), warning.c_str());
    std::string ownWeights = executablePath(argv[0]) + ".safetensors";
    int signal = options.ranksAsThreads ? runAsThreads(images, options, ownWeights)
                                        : runAsProcess(images, options, ownWeights, *job);
    // Parameters are saved by now.
    if (!isOutputWritten())
      fail("standard output could not be written");
    return signal ? 128 + signal : 0;
  } catch (const CommandLineExit &exit) {
    // All ranks were given the same flags.
    if (!isFirstRank()) {
      if (exit.status != 0)
        letOthersSpeak(2); // the first one may not even have begun
      return exit.status;
    }
    if (exit.status != 0) {
      printErrors(program, exit.text);
      return exit.status;
    }
    std::fputs(exit.text.c_str(), stdout);
    if (isOutputWritten())
      return 0;
    printErrors(program, "standard output could not be written");
  } catch (const PeerError &) {
    // The one that failed is saying why.
    letOthersSpeak(0.5);
  } catch (const std::bad_alloc &) {
    printErrors(program, "out of memory");
  } catch (const std::exception &e) {
    printErrors(program, e.what());
  }
  return 1;
}
