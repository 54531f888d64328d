//===- MemoryReport.h - What the arena of a program is made of ------------===//

#ifndef GALVATRON_CODEGEN_MEMORYREPORT_H
#define GALVATRON_CODEGEN_MEMORYREPORT_H

#include "dialects/RT/RT.h"
#include "galvatron/Codegen/ArenaPlanner.h"

namespace galvatron {

/// A slot of a table or the frame of a row, with the rows at which it is occupied.
struct TableBuffer {
  ArenaBuffer interval;
  mlir::Operation *op; // rt.slot, or the rt.run whose frame it is
};

/// Everything that `table` needs besides the tensors of the program. A gradient stays until it is published.
std::vector<TableBuffer> collectTableBuffers(rt::TableOp table);

/// What `printMemoryReport` prints for --print-memory: the arena's size and what it holds when it is fullest.
void printMemoryReport(rt::ProgramOp program, llvm::raw_ostream &stream);

/// "512 B", "1.5 KiB" and so on.
std::string describeBytes(double bytes);

} // namespace galvatron

#endif
