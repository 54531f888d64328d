# Two helpers that keep the CMakeLists of dialects, libraries and passes to a few lines each.

set(GALVATRON_MLIR_LIBS MLIR) # the shared library; component libraries must not be mixed with it

# galvatron_tablegen(NNOps.td target GEN file GEN file ...)
function(galvatron_tablegen td target)
  set(LLVM_TARGET_DEFINITIONS ${td})
  list(LENGTH ARGN n)
  math(EXPR last "${n} - 1")
  foreach(i RANGE 0 ${last} 2)
    math(EXPR j "${i} + 1")
    list(GET ARGN ${i} generator)
    list(GET ARGN ${j} file)
    string(REPLACE " " ";" generator "${generator}")
    mlir_tablegen(${file} ${generator} EXTRA_INCLUDES ${PROJECT_SOURCE_DIR})
  endforeach()
  add_public_tablegen_target(${target})
  set_property(GLOBAL APPEND PROPERTY GALVATRON_TABLEGEN_TARGETS ${target})
endfunction()

# galvatron_library(Name sources... [LINK libraries...]): a static library of the compiler.
# Every library depends on all generated headers: the order in which they are made is not worth tracking.
function(galvatron_library name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  get_property(generated GLOBAL PROPERTY GALVATRON_TABLEGEN_TARGETS)
  add_dependencies(${name} ${generated})
  target_link_libraries(${name} PUBLIC ${ARG_LINK} ${GALVATRON_MLIR_LIBS})
endfunction()

# galvatron_tool(name sources... LINK libraries...)
function(galvatron_tool name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  get_property(generated GLOBAL PROPERTY GALVATRON_TABLEGEN_TARGETS)
  add_dependencies(${name} ${generated})
  target_compile_definitions(${name} PRIVATE GALVATRON_VERSION="${PROJECT_VERSION}")
  target_link_libraries(${name} PRIVATE ${ARG_LINK} ${GALVATRON_MLIR_LIBS} LLVM)
  install(TARGETS ${name})
endfunction()
