//===- NodeDiagnostics.cpp - Prints diagnostics at ONNX nodes -------------===//

#include "galvatron/Import/NodeDiagnostics.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace galvatron {

static StringRef kindName(OnnxName kind) {
  switch (kind) {
  case OnnxName::Node:
    return "node";
  case OnnxName::Initializer:
    return "initializer";
  case OnnxName::Input:
    return "input";
  case OnnxName::Output:
    return "output";
  }
  llvm_unreachable("covered switch");
}

Location onnxLocation(MLIRContext *context, OnnxName kind, StringRef name) {
  Location child = UnknownLoc::get(context);
  if (kind != OnnxName::Node)
    child = NameLoc::get(StringAttr::get(context, kindName(kind)));
  return NameLoc::get(StringAttr::get(context, name), child);
}

/// The first name in a location, wherever rewrites have put it.
static NameLoc findName(Location loc) {
  NameLoc found;
  loc->walk([&](Location part) {
    found = dyn_cast<NameLoc>(part);
    return found ? WalkResult::interrupt() : WalkResult::advance();
  });
  return found;
}

static StringRef severityName(DiagnosticSeverity severity) {
  switch (severity) {
  case DiagnosticSeverity::Note:
    return "note";
  case DiagnosticSeverity::Warning:
    return "warning";
  case DiagnosticSeverity::Error:
    return "error";
  case DiagnosticSeverity::Remark:
    return "remark";
  }
  llvm_unreachable("covered switch");
}

NodeDiagnosticHandler::NodeDiagnosticHandler(MLIRContext *context, StringRef file, raw_ostream &os)
    : ScopedDiagnosticHandler(context), file(file), os(os) {
  setHandler([this](Diagnostic &diagnostic) {
    print(diagnostic);
    for (Diagnostic &note : diagnostic.getNotes())
      print(note);
  });
}

void NodeDiagnosticHandler::print(Diagnostic &diagnostic) {
  Location loc = diagnostic.getLocation();
  if (auto position = loc->findInstanceOf<FileLineColLoc>()) {
    os << position.getFilename().getValue() << ":";
    if (position.getLine()) // none: the whole file
      os << position.getLine() << ":" << position.getColumn() << ":";
    os << " ";
  } else {
    os << file << ": ";
  }
  if (NameLoc name = findName(loc)) {
    auto kind = dyn_cast<NameLoc>(name.getChildLoc());
    os << (kind ? kind.getName().getValue() : StringRef("node")) << " '" << name.getName().getValue() << "': ";
  }
  os << severityName(diagnostic.getSeverity()) << ": " << diagnostic << "\n";
}

} // namespace galvatron
