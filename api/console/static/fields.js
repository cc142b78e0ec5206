// A form's fields by name, to keep what a reader has ticked and typed, and to put it back.
const fieldValues = {
  ticked: (each) => each.type === "checkbox" || each.type === "radio",
  called: (each) => (fieldValues.ticked(each) ? `${each.name}=${each.value}` : each.name),
  held: (each) => (fieldValues.ticked(each) ? each.checked : each.value),
  of: (fields) => Object.fromEntries(fields.map((each) => [fieldValues.called(each), fieldValues.held(each)])),
  put: (fields, kept) => fields.filter((each) => fieldValues.called(each) in kept).forEach((each) => {
    each[fieldValues.ticked(each) ? "checked" : "value"] = kept[fieldValues.called(each)];
  }),
};
