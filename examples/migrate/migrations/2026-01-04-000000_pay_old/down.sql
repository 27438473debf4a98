UPDATE invoices SET paid = false;
