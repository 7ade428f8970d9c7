# Small freestanding guests: one assembler file each, linked flat at the address where SmallGuest
# loads it, then embedded as bytes.
#
#   ftvmm_embed_guests(<target> GUESTS a.S b.S ...)
#
# makes the object library <target> with, for each x.S, the symbols ftvmm_guest_x and
# ftvmm_guest_x_end around its bytes. The shared macros are in src/vmm/probe/guests/guest.inc.
# Always the machine's own gcc and binutils, whatever compiles ftvmm.
find_program(FTVMM_GUEST_GCC gcc REQUIRED)
find_program(FTVMM_GUEST_OBJCOPY objcopy REQUIRED)
set(FTVMM_GUEST_ABI_DIR ${PROJECT_SOURCE_DIR}/src/vmm/probe/guests)

function(ftvmm_embed_guests target)
  cmake_parse_arguments(EMBED "" "" "GUESTS" ${ARGN})
  set(images)
  set(listing "    .section .rodata\n")
  foreach(source IN LISTS EMBED_GUESTS)
    get_filename_component(name ${source} NAME_WE)
    get_filename_component(source ${source} ABSOLUTE)
    set(stem ${CMAKE_CURRENT_BINARY_DIR}/guests/${name})
    add_custom_command(
      OUTPUT ${stem}.bin
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/guests
      COMMAND ${FTVMM_GUEST_GCC} -ffreestanding -nostdlib -static -no-pie
              -I${FTVMM_GUEST_ABI_DIR} -T ${FTVMM_GUEST_ABI_DIR}/guest.ld
              -Wl,--build-id=none,--no-warn-rwx-segments ${source} -o ${stem}.elf
      COMMAND ${FTVMM_GUEST_OBJCOPY} -O binary ${stem}.elf ${stem}.bin
      DEPENDS ${source} ${FTVMM_GUEST_ABI_DIR}/guest.inc ${FTVMM_GUEST_ABI_DIR}/guest.ld
      COMMENT "Guest ${name}" VERBATIM)
    list(APPEND images ${stem}.bin)
    string(APPEND listing
      "    .balign 16\n    .global ftvmm_guest_${name}, ftvmm_guest_${name}_end\n"
      "ftvmm_guest_${name}:\n    .incbin \"${stem}.bin\"\nftvmm_guest_${name}_end:\n    .byte 0\n")
  endforeach()
  string(APPEND listing "    .section .note.GNU-stack,\"\",@progbits\n")
  file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${target}.S CONTENT "${listing}")
  set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/${target}.S PROPERTIES
    GENERATED TRUE OBJECT_DEPENDS "${images}")
  add_library(${target} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${target}.S)
endfunction()
