# A room is a folder of src/ with a library of its own. It sees the headers of the rooms it names
# under MAY_USE and no others: each room exports a folder that holds nothing but a link to itself, so
# `#include "base/fd.h"` resolves only where ftvmm_base is linked.
#
#   ftvmm_room(<path under src> SOURCES file.cpp ... [MAY_USE room ...] [LIBRARIES lib ...])
#
# The target of room vmm/kvm is ftvmm_vmm_kvm. MAY_USE is public: what a room's headers include,
# the rooms that use it see too.
function(ftvmm_room path)
  cmake_parse_arguments(ROOM "" "" "SOURCES;MAY_USE;LIBRARIES" ${ARGN})
  string(REPLACE "/" "_" name ${path})
  set(target ftvmm_${name})

  set(export_dir ${PROJECT_BINARY_DIR}/rooms/${name})
  get_filename_component(parent ${export_dir}/${path} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/src/${path} ${export_dir}/${path} SYMBOLIC)

  add_library(${target} STATIC ${ROOM_SOURCES})
  target_include_directories(${target} PUBLIC ${export_dir})
  target_link_libraries(${target} PUBLIC ftvmm_options ${ROOM_LIBRARIES})
  foreach(used IN LISTS ROOM_MAY_USE)
    string(REPLACE "/" "_" used_name ${used})
    target_link_libraries(${target} PUBLIC ftvmm_${used_name})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY FTVMM_ROOMS ${path})
endfunction()
